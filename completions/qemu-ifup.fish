# Completion of qemu-ifup and qemu-ifdown for fish.

function __qemu_ifup_links # TYPE
    ip -br link show type $argv[1] 2>/dev/null | string match -r '^\S+'
end

complete -c qemu-ifup -c qemu-ifdown -f -a '(__qemu_ifup_links tun)'
# written from src/config/table.rs: options of both
complete -c qemu-ifup -c qemu-ifdown -s n -l dry-run -d 'change nothing'
complete -c qemu-ifup -c qemu-ifdown -s v -l verbose -d 'print each step as it is done'
complete -c qemu-ifup -c qemu-ifdown -s q -l quiet -d 'print errors only'
complete -c qemu-ifup -c qemu-ifdown -s h -l help -d 'print this help'
complete -c qemu-ifup -c qemu-ifdown -s V -l version -d 'print the version'
# end of what is written

# written from src/config/table.rs: options of qemu-ifdown
complete -c qemu-ifdown -l delete -d 'also delete the tap, if it is persistent'
# end of what is written

# written from src/config/table.rs: options of qemu-ifup
complete -c qemu-ifup -s b -l bridge -x -a '(__qemu_ifup_links bridge)' -d 'bridge to attach to'
complete -c qemu-ifup -l create-bridge -d 'create the bridge if it does not exist'
complete -c qemu-ifup -l no-create-bridge -d 'the opposite of --create-bridge'
complete -c qemu-ifup -l address -x -d 'IPv4 or IPv6 address for a bridge that --create-bridge creates'
complete -c qemu-ifup -s u -l owner -x -a '(__fish_complete_users)' -d 'owner of the tap, name or uid'
complete -c qemu-ifup -s g -l group -x -a '(__fish_complete_groups)' -d 'let the members of GROUP open the tap'
complete -c qemu-ifup -l multi-queue -d 'create a multi-queue tap'
complete -c qemu-ifup -l no-multi-queue -d 'the opposite of --multi-queue'
complete -c qemu-ifup -l mtu -x -d 'MTU of the tap'
complete -c qemu-ifup -l qdisc -x -a 'noqueue default' -d 'queueing discipline of a new tap'
complete -c qemu-ifup -l max-taps -x -d 'maximum number of taps for each unprivileged user'
complete -c qemu-ifup -l isolated -d 'block traffic between this port and other isolated ports'
complete -c qemu-ifup -l no-isolated -d 'the opposite of --isolated'
complete -c qemu-ifup -l guard -d 'disable the port if the guest sends a BPDU'
complete -c qemu-ifup -l no-guard -d 'the opposite of --guard'
complete -c qemu-ifup -l root-block -d 'never make this port the root port'
complete -c qemu-ifup -l no-root-block -d 'the opposite of --root-block'
complete -c qemu-ifup -l no-learning -d 'do not learn MACs from the guest\'s frames'
complete -c qemu-ifup -l learning -d 'the opposite of --no-learning'
complete -c qemu-ifup -l no-flood -d 'do not flood unicast for unknown MACs to the guest'
complete -c qemu-ifup -l flood -d 'the opposite of --no-flood'
complete -c qemu-ifup -l no-mcast-flood -d 'send multicast to the guest only for groups that it has joined'
complete -c qemu-ifup -l mcast-flood -d 'the opposite of --no-mcast-flood'
complete -c qemu-ifup -l neigh-suppress -d 'let the bridge answer ARP and ND requests for known hosts instead of forwarding them to the guest'
complete -c qemu-ifup -l no-neigh-suppress -d 'the opposite of --neigh-suppress'
complete -c qemu-ifup -l lock-mac -x -d 'accept frames only from MAC'
complete -c qemu-ifup -l no-lock-mac -d 'undo --lock-mac'
complete -c qemu-ifup -l pvid -x -d 'untagged VLAN of the port'
complete -c qemu-ifup -l vlans -x -d 'tagged VLANs of the port, e.g'
complete -c qemu-ifup -l wait -x -d 'wait until the port forwards'
complete -c qemu-ifup -l check -d 'change nothing'
complete -c qemu-ifup -l json -d 'print a JSON array with one object per finding'
complete -c qemu-ifup -l strict -d 'exit with a nonzero code for warnings, too'
complete -c qemu-ifup -l fd -x -d 'act as QEMU\'s bridge helper'
complete -c qemu-ifup -l use-vnet -d 'create the tap with IFF_VNET_HDR'
# end of what is written
