//! [`Id`]: each kind of finding, with the stable name that programs look for. qemu-ifup(8) and docs/troubleshooting.md have
//! the same table.

use crate::error::exit_code::ExitCode;
use crate::error::exit_code::ExitCode::{Bridge, Configuration, Kernel, NotPermitted, Tap, Tun};

/// How bad a finding is, with the exit code that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Ok,
    /// Some guests will not have all they expect.
    Warning(ExitCode),
    /// A guest will not start, or will have no network; the code is the one that qemu-ifup has for it.
    Problem(ExitCode),
}

impl Level {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning(_) => "warning",
            Self::Problem(_) => "problem",
        }
    }

    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Ok => ExitCode::Success,
            Self::Warning(code) | Self::Problem(code) => code,
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Host,
    OfBridge,
    OfTap,
    /// The tap as a port of the bridge.
    OfPort,
}
use Level::{Ok, Problem, Warning};
use Scope::{Host, OfBridge, OfPort, OfTap};

macro_rules! ids {
    ($($id:ident $name:literal $subject:literal $scope:ident $level:expr, $meaning:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Id {
            $(#[doc = $meaning] $id,)*
        }

        impl Id {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$id),*];

            /// The name: lower case, with hyphens.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$id => $name,)*
                }
            }

            /// A word for what was looked at.
            pub(crate) const fn subject(self) -> &'static str {
                match self {
                    $(Self::$id => $subject,)*
                }
            }

            pub(crate) const fn scope(self) -> Scope {
                match self {
                    $(Self::$id => $scope,)*
                }
            }

            /// How bad it is. The exit code is that of the error where there is one.
            pub(crate) const fn level(self) -> Level {
                match self {
                    $(Self::$id => $level,)*
                }
            }

            /// What it means, as the documents have it.
            #[cfg(test)]
            pub(crate) const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$id => $meaning,)*
                }
            }
        }
    };
}

#[rustfmt::skip]
ids! {
    Refused "refused" "qemu-ifup" OfTap Problem(Tap), "qemu-ifup itself would end with this error";
    Root "root" "privilege" Host Ok, "the caller is root, with CAP_NET_ADMIN";
    FileCapability "file-capability" "privilege" Host Ok, "an unprivileged user, and the program has CAP_NET_ADMIN";
    RootWithoutNetAdmin "root-without-net-admin" "privilege" Host Problem(NotPermitted), "root does not have CAP_NET_ADMIN, as in a container";
    TapPrepared "tap-prepared" "privilege" OfTap Ok, "CAP_NET_ADMIN is not needed: the tap is ready";
    NoNetAdmin "no-net-admin" "privilege" Host Problem(NotPermitted), "the caller does not have CAP_NET_ADMIN";
    TunUsable "tun-usable" "/dev/net/tun" Host Ok, "/dev/net/tun can be opened";
    TunUnusable "tun-unusable" "/dev/net/tun" Host Problem(Tun), "/dev/net/tun cannot be opened";
    VhostUsable "vhost-usable" "vhost" Host Ok, "/dev/vhost-net can be opened";
    VhostUnusable "vhost-unusable" "vhost" Host Ok, "/dev/vhost-net cannot be opened (it is optional)";
    ConfLine "conf-line" "configuration" OfTap Ok, "a line of /etc/qemu-ifup.conf matches the tap";
    ConfBridge "conf-bridge" "configuration" OfBridge Ok, "the name of the bridge, and where it comes from";
    ConfInvalid "conf-invalid" "configuration" Host Problem(Configuration), "/etc/qemu-ifup.conf is invalid or not safe to use";
    AclInvalid "acl-invalid" "ACL" Host Problem(Configuration), "/etc/qemu/bridge.conf is invalid or not safe to use";
    AclNotChecked "acl-not-checked" "ACL" Host Ok, "the ACL does not matter to this caller";
    AclAllows "acl-allows" "ACL" OfBridge Ok, "the ACL allows the bridge";
    AclDenies "acl-denies" "ACL" OfBridge Problem(NotPermitted), "the ACL denies the bridge";
    AclSilent "acl-silent" "ACL" OfBridge Problem(NotPermitted), "no line of the ACL allows the bridge";
    AclMissing "acl-missing" "ACL" OfBridge Problem(NotPermitted), "/etc/qemu/bridge.conf does not exist";
    HelperPrivileged "helper-privileged" "helper" Host Warning(NotPermitted), "QEMU's own bridge helper ignores /etc/qemu-ifup.conf";
    BridgeMissing "bridge-missing" "bridge" OfBridge Problem(Bridge), "the bridge does not exist";
    BridgeWillBeCreated "bridge-will-be-created" "bridge" OfBridge Ok, "the bridge does not exist, and qemu-ifup will create it";
    BridgeModuleMissing "bridge-module-missing" "bridge" OfBridge Problem(Kernel), "the kernel does not support bridges";
    NetworkInUse "network-in-use" "bridge" OfBridge Problem(Bridge), "another interface is in the network of the new bridge";
    Ipv6Disabled "ipv6-disabled" "bridge" OfBridge Problem(Kernel), "the new bridge cannot get its IPv6 address";
    NotABridge "not-a-bridge" "bridge" OfBridge Problem(Bridge), "the interface is not a bridge";
    BridgeUp "bridge-up" "bridge" OfBridge Ok, "the bridge is up";
    BridgeDown "bridge-down" "bridge" OfBridge Problem(Bridge), "the bridge is down";
    UplinkUp "uplink-up" "bridge" OfBridge Ok, "the bridge has an uplink";
    UplinkDown "uplink-down" "bridge" OfBridge Warning(Bridge), "the uplink is down";
    UplinkNoCarrier "uplink-no-carrier" "bridge" OfBridge Warning(Bridge), "the uplink has no carrier";
    BridgeHostOnly "bridge-host-only" "bridge" OfBridge Ok, "the bridge has an IP address and no uplink";
    BridgeUnconnected "bridge-unconnected" "bridge" OfBridge Warning(Bridge), "the bridge has neither an IP address nor an uplink";
    NetworkShared "network-shared" "bridge" OfBridge Warning(Bridge), "another interface is in the network of the bridge";
    BridgePorts "bridge-ports" "bridge" OfBridge Ok, "the number of ports of the bridge";
    BridgeFull "bridge-full" "bridge" OfBridge Problem(Bridge), "the bridge already has 1023 ports";
    BridgeMtu "bridge-mtu" "bridge" OfBridge Warning(Bridge), "a tap lowers the MTU of the bridge";
    BridgeMacOfTap "bridge-mac-of-tap" "bridge" OfBridge Warning(Bridge), "the bridge uses the MAC of a tap";
    BridgeMacNotFixed "bridge-mac-not-fixed" "bridge" OfBridge Warning(Bridge), "the bridge has no fixed MAC, and users can change it";
    StpOff "stp-off" "bridge" OfBridge Ok, "STP is off";
    StpWaited "stp-waited" "bridge" OfBridge Ok, "STP is on, and QEMU waits (--wait)";
    StpDelay "stp-delay" "bridge" OfBridge Warning(Bridge), "STP is on: the guest has no network at first";
    MulticastSnooping "multicast-snooping" "bridge" OfBridge Ok, "multicast snooping is on";
    VlanFiltering "vlan-filtering" "bridge" OfBridge Ok, "whether VLAN filtering is on";
    FirewallBypassed "firewall-bypassed" "br_netfilter" OfBridge Ok, "bridged frames bypass the firewall";
    FirewallEmpty "firewall-empty" "br_netfilter" OfBridge Ok, "bridged frames pass through a firewall without rules";
    FirewallRules "firewall-rules" "br_netfilter" OfBridge Warning(Bridge), "bridged frames pass through a firewall that may drop them";
    ForwardingOn "forwarding-on" "forwarding" Host Ok, "IPv4 forwarding is on";
    ForwardingOff "forwarding-off" "forwarding" Host Ok, "IPv4 forwarding is off";
    VirtualMachine "virtual-machine" "forwarding" OfBridge Ok, "this host is a virtual machine";
    TapWillBeCreated "tap-will-be-created" "tap" OfTap Ok, "the tap does not exist, and qemu-ifup will create it";
    NotATap "not-a-tap" "tap" OfTap Problem(Tap), "the interface is not a tap";
    TapOwner "tap-owner" "tap" OfTap Ok, "the owner or the group of the tap";
    TapNoOwnerNeeded "tap-no-owner-needed" "tap" OfTap Ok, "the tap has no owner and does not need one";
    TapNoOwner "tap-no-owner" "tap" OfTap Warning(Tap), "the tap has no owner: every user can open it";
    TapQueues "tap-queues" "tap" OfTap Ok, "whether the tap is persistent and multi-queue";
    TapInUse "tap-in-use" "tap" OfTap Ok, "a program uses the tap";
    TapNotInUse "tap-not-in-use" "tap" OfTap Ok, "no program uses the tap";
    TapShared "tap-shared" "tap" OfTap Warning(Tap), "a program of another user also uses the tap";
    TapUp "tap-up" "tap" OfPort Ok, "the tap is up on the bridge";
    TapDown "tap-down" "tap" OfPort Warning(Tap), "the tap is down";
    TapDisabled "tap-disabled" "tap" OfPort Warning(Tap), "the port is disabled after a BPDU (--guard)";
    TapPortOptions "tap-port-options" "tap" OfPort Warning(Tap), "the options of the port differ";
    TapOnOtherBridge "tap-on-other-bridge" "tap" OfPort Warning(Tap), "the tap is attached to another bridge";
    TapNotAttached "tap-not-attached" "tap" OfPort Warning(Tap), "the tap is not attached to a bridge";
    TapNotAttachedYet "tap-not-attached-yet" "tap" OfPort Ok, "the tap is not attached, and the bridge is missing";
    TapMacNotAllowed "tap-mac-not-allowed" "tap" OfPort Problem(Tap), "the tap is locked, and the MAC of its guest is missing";
    TapMtu "tap-mtu" "tap" OfPort Warning(Tap), "the tap and the bridge have different MTUs";
    TapAddress "tap-address" "tap" OfTap Warning(Tap), "the tap has an IP address";
    TapIpv6 "tap-ipv6" "tap" OfTap Warning(Tap), "the tap will get an IPv6 address";
    ManagerRunning "manager-running" "managers" OfTap Ok, "a network manager is running";
    ManagerIgnoresTap "manager-ignores-tap" "managers" OfTap Ok, "a network manager does not manage the tap";
    ManagerManagesTap "manager-manages-tap" "managers" OfTap Warning(Tap), "a network manager may configure the tap";
    ApparmorDenies "apparmor-denies" "libvirt" Host Warning(NotPermitted), "AppArmor does not permit libvirtd to run qemu-ifup";
}
