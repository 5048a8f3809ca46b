# Completion of qemu-ifup and qemu-ifdown for bash.

# Puts the names of interfaces of that type into COMPREPLY. They are quoted and never expanded, as by compgen -W: whoever may
# create an interface may name it $(reboot).
_qemu_ifup_links() { # TYPE PREFIX
    local name _
    while read -r name _; do
        [[ $name != "$2"* ]] || COMPREPLY+=("$(printf %q "$name")")
    done < <(ip -br link show type "$1" 2>/dev/null)
}

_qemu_ifup() { # PROGRAM
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local options="-n --dry-run -v --verbose -q --quiet -h --help -V --version"
    # --bridge=br0 is three words here.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    case ${1##*/} in
    qemu-ifdown) options+=" --delete" ;;
    *) options+=" -b --bridge --create-bridge --no-create-bridge --address -u --owner -g --group --multi-queue --no-multi-queue
        --mtu --isolated --no-isolated --guard --no-guard --root-block --no-root-block --no-learning --learning --no-flood --flood
        --no-mcast-flood --mcast-flood --neigh-suppress --no-neigh-suppress --lock-mac --no-lock-mac --pvid --vlans --qdisc --wait
        --max-taps --check --json --strict --fd --use-vnet" ;;
    esac
    case $before in
    -b | --bridge | --br) _qemu_ifup_links bridge "$word" ;;
    -u | --owner) mapfile -t COMPREPLY < <(compgen -u -- "$word") ;;
    -g | --group) mapfile -t COMPREPLY < <(compgen -g -- "$word") ;;
    --qdisc) mapfile -t COMPREPLY < <(compgen -W "noqueue default" -- "$word") ;;
    --address | --mtu | --lock-mac | --pvid | --vlans | --wait | --max-taps | --fd) ;;
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
