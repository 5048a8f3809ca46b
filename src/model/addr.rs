//! Ethernet addresses, and IP addresses with their prefix.

use std::fmt::{self, Display};
use std::net::IpAddr;

use crate::model::parse_decimal;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MacAddr(pub(crate) [u8; 6]);

impl MacAddr {
    /// The same address with 0xfe as its first byte.
    ///
    /// A bridge whose address nobody set takes the lowest address of its ports. An address that starts with 0xfe (locally
    /// administered, and higher than that of any physical card) is never the lowest one beside a physical card.
    #[must_use]
    pub(crate) fn with_fe_prefix(self) -> Self {
        let [_, rest @ ..] = self.0;
        Self::fe_from(rest)
    }

    /// An address of 0xfe and these five bytes.
    #[must_use]
    pub(crate) fn fe_from(rest: [u8; 5]) -> Self {
        Self::from_parts(0xfe, rest)
    }

    /// An address of 0x02, the plainest locally administered one, and these five bytes.
    #[must_use]
    pub(crate) fn locally_administered(rest: [u8; 5]) -> Self {
        Self::from_parts(0x02, rest)
    }

    fn from_parts(first: u8, rest: [u8; 5]) -> Self {
        let [b, c, d, e, f] = rest;
        Self([first, b, c, d, e, f])
    }
}

/// The Ethernet address of one network card: neither multicast nor all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnicastMac(MacAddr);

impl UnicastMac {
    /// Parses six bytes in hexadecimal with colons between them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut words = text.split(':');
        for byte in &mut bytes {
            let word = words.next().filter(|word| word.len() == 2)?;
            let is_hex = word.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(word, 16).ok().filter(|_| is_hex)?;
        }
        let [first, ..] = bytes;
        let is_unicast = first & 1 == 0 && bytes != [0; 6];
        (words.next().is_none() && is_unicast).then_some(Self(MacAddr(bytes)))
    }
}

impl From<UnicastMac> for MacAddr {
    fn from(mac: UnicastMac) -> Self {
        mac.0
    }
}

impl Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An IP address of an interface, with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IpPrefix {
    pub(crate) ip: IpAddr,
    /// The prefix length in bits.
    pub(crate) prefix: u8,
}

impl IpPrefix {
    /// Parses `A/LEN`. An address that no interface can have (unspecified, multicast) is refused, and so are the addresses of
    /// the network itself and of its broadcast.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (ip, prefix) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = u8::try_from(parse_decimal(prefix)?).ok()?;
        let is_host_address = match ip {
            IpAddr::V4(ip) => {
                let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                prefix > 30 || ![0, host].contains(&(ip.to_bits() & host))
            }
            IpAddr::V6(ip) => {
                let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                prefix > 126 || ip.to_bits() & host != 0
            }
        };
        let usable =
            prefix <= longest && is_host_address && !ip.is_unspecified() && !ip.is_multicast();
        usable.then_some(Self { ip, prefix })
    }

    /// Whether two interfaces cannot have one of these each: they are the same address, or in the same network. Each interface
    /// has a link-local network of its own.
    pub(crate) fn conflicts_with(&self, other: &Self) -> bool {
        let differing = match (self.ip, other.ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), _) if a.is_unicast_link_local() => return false,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        self.ip == other.ip || self.prefix == other.prefix && differing >= self.prefix.into()
    }
}

impl Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_card_is_six_bytes_and_no_groups() {
        let parsed = |text| UnicastMac::parse(text).map(|mac| MacAddr::from(mac).to_string());
        let canonical = Some("52:54:00:ab:cd:ef".to_owned());
        assert_eq!(parsed("52:54:00:aB:CD:ef"), canonical);
        assert_eq!(
            parsed("00:00:00:00:00:01"),
            Some("00:00:00:00:00:01".to_owned())
        );
        for wrong in [
            "",
            "00:00:00:00:00:00",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:01",
            "52:54:0:ab:cd:ef",
            "52:54:00:ab:cd:+f",
            "52:54:00:ab:cd:eg",
            "52-54-00-ab-cd-ef",
            " 52:54:00:ab:cd:ef",
            "5254.00ab.cdef",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn one_network_is_for_one_interface() {
        let conflict = |a, b| {
            let [a, b] = [a, b].map(|text| IpPrefix::parse(text).unwrap());
            assert_eq!(a.conflicts_with(&b), b.conflicts_with(&a));
            a.conflicts_with(&b)
        };
        assert!(conflict("192.168.10.1/24", "192.168.10.200/24"));
        assert!(conflict("192.168.10.1/24", "192.168.10.1/32"));
        assert!(conflict("fd00::1/64", "fd00::ffff/64"));
        assert!(!conflict("192.168.10.1/24", "192.168.11.1/24"));
        // The more specific route wins, as somebody may want it.
        assert!(!conflict("10.1.2.3/24", "10.9.9.9/8"));
        assert!(!conflict("0.0.0.1/0", "::1/0"));
        assert!(!conflict("fe80::1/64", "fe80::1/64"));
    }
}
