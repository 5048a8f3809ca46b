# Completion of qemu-ifup and qemu-ifdown for bash.

# Puts the names of interfaces of that type into COMPREPLY. They are quoted and never expanded, as by compgen -W: whoever may
# create an interface may name it $(reboot).
_qemu_ifup_links() { # TYPE PREFIX
    local name _
    while read -r name _; do
        [[ $name != "$2"* ]] || COMPREPLY+=("$(printf %q "$name")")
    done < <(ip -br link show type "$1" 2>/dev/null)
}

# written from src/config/table.rs: options of both
_qemu_ifup_both_options="-n --dry-run -v --verbose -q --quiet -h --help -V --version"
# end of what is written
# written from src/config/table.rs: options of qemu-ifup
_qemu_ifup_options="-b --bridge --create-bridge --no-create-bridge --address -u --owner -g --group
    --multi-queue --no-multi-queue --mtu --qdisc --max-taps --isolated --no-isolated --guard --no-guard
    --root-block --no-root-block --no-learning --learning --no-flood --flood --no-mcast-flood --mcast-flood
    --neigh-suppress --no-neigh-suppress --lock-mac --no-lock-mac --pvid --vlans --wait --check --json --strict
    --fd --use-vnet"
# end of what is written
# written from src/config/table.rs: options of qemu-ifdown
_qemu_ifdown_options="--delete"
# end of what is written

_qemu_ifup() { # PROGRAM
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local options=$_qemu_ifup_both_options
    # --bridge=br0 is three words here.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    case ${1##*/} in
    qemu-ifdown) options+=" $_qemu_ifdown_options" ;;
    *) options+=" $_qemu_ifup_options" ;;
    esac
    case $before in
    # written from src/config/table.rs: values
    --address | --mtu | --max-taps | --lock-mac | --pvid | --vlans | --wait | --fd) ;;
    -b | --bridge | --br) _qemu_ifup_links bridge "$word" ;;
    --qdisc) mapfile -t COMPREPLY < <(compgen -W "noqueue default" -- "$word") ;;
    -g | --group) mapfile -t COMPREPLY < <(compgen -g -- "$word") ;;
    -u | --owner) mapfile -t COMPREPLY < <(compgen -u -- "$word") ;;
    # end of what is written
    *)
        if [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        else
            _qemu_ifup_links tun "$word"
        fi
        ;;
    esac
}

complete -F _qemu_ifup qemu-ifup qemu-ifdown
