//! Addresses of a new bridge.

use crate::model::addr::IpPrefix;

#[test]
fn addresses_are_read_whole_or_not_at_all() {
    for good in [
        "192.168.10.1/24",
        "10.0.0.1/0",
        "10.0.0.1/32",
        "fd00::1/64",
        "::1/128",
        "10.0.0.0/31",
        "10.0.0.255/32",
        "10.0.0.255/23",
        "fd00::/127",
    ] {
        assert_eq!(IpPrefix::parse(good).unwrap().to_string(), good);
    }
    for bad in [
        "",
        "/",
        "192.168.10.1",
        "192.168.10.1/",
        "192.168.10.1/33",
        "192.168.10/24",
        "fd00::1/129",
        "fd00::1/-1",
        "10.0.0.1/+8",
        "10.0.0.1/8/8",
        "0.0.0.0/8",
        "224.0.0.1/4",
        "ff02::1/64",
        "host/24",
        // Of the network, not of the host.
        "192.168.10.0/24",
        "192.168.10.255/24",
        "10.0.0.7/30",
        "fd00::/64",
    ] {
        assert_eq!(IpPrefix::parse(bad), None, "{bad}");
    }
}
