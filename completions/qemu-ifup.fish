# Completion of qemu-ifup and qemu-ifdown for fish.

function __qemu_ifup_links # TYPE
    ip -br link show type $argv[1] 2>/dev/null | string match -r '^\S+'
end

complete -c qemu-ifup -c qemu-ifdown -f -a '(__qemu_ifup_links tun)'
complete -c qemu-ifup -c qemu-ifdown -s n -l dry-run -d 'change nothing; print the steps'
complete -c qemu-ifup -c qemu-ifdown -s v -l verbose -d 'print each step as it is done'
complete -c qemu-ifup -c qemu-ifdown -s q -l quiet -d 'print errors only'
complete -c qemu-ifup -c qemu-ifdown -s h -l help -d 'print the help'
complete -c qemu-ifup -c qemu-ifdown -s V -l version -d 'print the version'

complete -c qemu-ifdown -l delete -d 'also delete the tap'

complete -c qemu-ifup -s b -l bridge -x -a '(__qemu_ifup_links bridge)' -d 'bridge to attach to'
complete -c qemu-ifup -l create-bridge -d 'create the bridge if it does not exist'
complete -c qemu-ifup -l address -x -d 'address of a new bridge'
complete -c qemu-ifup -s u -l owner -x -a '(__fish_complete_users)' -d 'owner of the tap'
complete -c qemu-ifup -s g -l group -x -a '(__fish_complete_groups)' -d 'group that may open the tap'
complete -c qemu-ifup -l multi-queue -d 'create a tap for queues=N'
complete -c qemu-ifup -l mtu -x -d 'MTU of the tap'
complete -c qemu-ifup -l isolated -d 'no talk to other isolated ports'
complete -c qemu-ifup -l pvid -x -d 'untagged VLAN of the port'
complete -c qemu-ifup -l vlans -x -d 'tagged VLANs of the port'
complete -c qemu-ifup -l qdisc -x -a 'noqueue default' -d 'queueing discipline of a new tap'
complete -c qemu-ifup -l wait -x -d 'seconds to wait until the port forwards'
complete -c qemu-ifup -l max-taps -x -d 'how many taps a user may have'
complete -c qemu-ifup -l check -d 'say what is wrong, and how to fix it'
complete -c qemu-ifup -l json -d 'with --check: print JSON'
complete -c qemu-ifup -l strict -d 'with --check: warnings count, too'
complete -c qemu-ifup -l fd -x -d 'as QEMU\'s bridge helper: socket'
complete -c qemu-ifup -l use-vnet -d 'with --fd: IFF_VNET_HDR'
