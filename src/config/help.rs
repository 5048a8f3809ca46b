//! The texts of `--help`. The README and the manual pages have the same options word for word.

/// Of qemu-ifup.
pub(super) const IFUP_HELP: &str = "\
Usage: qemu-ifup [OPTIONS] IFNAME...

Bring each tap IFNAME up and attach it to a bridge; create it if it does not
exist. QEMU runs it:
-netdev tap,id=n1,script=/etc/qemu-ifup,downscript=/etc/qemu-ifdown

  -b, --bridge NAME   bridge to attach to; --br is the same (default: what
                      follows the dot in the name the program was run under,
                      then /etc/qemu-ifup.conf, then br0)
      --create-bridge, --no-create-bridge
                      create the bridge if it does not exist (no STP, its own
                      fixed MAC, up)
      --address A/LEN IPv4 or IPv6 address of a bridge created by
                      --create-bridge; may be repeated
  -u, --owner USER    owner of the tap, name or uid (default: the invoking user)
  -g, --group GROUP   let a group open the tap, instead of an owner
      --multi-queue, --no-multi-queue
                      create a tap that QEMU can open with queues=N
      --mtu N         MTU of the tap (default: the bridge's)
      --isolated, --no-isolated
                      the port may not talk to other isolated ports; unknown
                      unicast from the uplink reaches it unless --no-flood or
                      --lock-mac stops that
      --guard, --no-guard
                      a BPDU from the guest shuts the port, where the bridge has
                      STP
      --root-block, --no-root-block
                      the port does not become the way to the root bridge (STP)
      --no-learning, --learning
                      learn no MAC from the guest's frames
      --no-flood, --flood
                      send the guest no unicast to a MAC that is not known
      --no-mcast-flood, --mcast-flood
                      send the guest no multicast but to groups that it has
                      joined
      --neigh-suppress, --no-neigh-suppress
                      answer ARP and ND for what the bridge knows, instead of
                      asking the guest
      --lock-mac MAC  take frames from this MAC only, the guest's; implies
                      --no-learning, --no-flood and --guard (Linux 5.18)
      --no-lock-mac   take frames from any MAC again
      --pvid VID      untagged VLAN of the port
      --vlans LIST    tagged VLANs of the port, e.g. 10,20-29
      --qdisc KIND    queueing discipline of a tap that was never up: noqueue
                      (default), or default for the kernel's own
      --wait SECONDS  return only when the port forwards (STP), or fail after
                      SECONDS
      --max-taps N    in /etc/qemu-ifup.conf: how many taps a user other than
                      root may have (default: 64)
      --check         change nothing; say what is wrong with this host, the
                      bridge or the tap (IFNAME may be left out), and how to fix
                      it
      --json          with --check: print JSON, an object for each finding
      --strict        with --check: warnings count for the exit code, too
      --fd=N          as QEMU's bridge helper: create a tap and pass it over
                      socket N (IFNAME may be left out)
      --use-vnet      with --fd: let QEMU pass on checksums and large packets
                      (IFF_VNET_HDR)
  -n, --dry-run       change nothing; print the steps as ip(8) commands
  -v, --verbose       print each step as it is done
  -q, --quiet         print errors only
  -h, --help          print this help
  -V, --version       print the version

Each line of /etc/qemu-ifup.conf is a pattern of interface names, then options
as above. Of an option and its opposite the later one wins, and the command line
over the lines. Users other than root may attach taps of their own to the
bridges that /etc/qemu/bridge.conf allows, where the program was installed with
--setcap.

Exit codes: 0 done, 1 unexpected, 2 usage, 3 not permitted, 4 bridge missing,
not a bridge, or full, 5 not a usable tap, 6 /dev/net/tun unusable, 7 refused by
the kernel, 8 configuration or ACL file, 9 timed out waiting.
QEMU prints 256 times the code.
";

/// Of qemu-ifdown.
pub(super) const IFDOWN_HELP: &str = "\
Usage: qemu-ifdown [OPTIONS] IFNAME...

Detach each tap IFNAME from the bridge it is in and bring it down.

      --delete        also delete the tap, if it is persistent
  -n, --dry-run       change nothing; print the steps as ip(8) commands
  -v, --verbose       print each step as it is done
  -q, --quiet         print errors only
  -h, --help          print this help
  -V, --version       print the version

Exit codes: 0 done, 1 unexpected, 2 usage, 3 not permitted, 5 not a tap,
7 refused by the kernel, 8 ACL file.
";
