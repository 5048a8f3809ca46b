//! [`IfName`]: the only way to hold the name of a network interface.

#![forbid(unsafe_code)]

use std::fmt::{self, Debug, Display};

use crate::text::Escaped;

/// The kernel's room for an interface name, its final NUL included (`IFNAMSIZ` in linux/if.h).
pub const IFNAMSIZ: usize = 16;

/// A name that the kernel would accept for an interface: 1 to 15 bytes, by the rules of `dev_valid_name()` in
/// the kernel's net/core/dev.c, and without `%`, which it would expand.
///
/// A name that does not fit is refused, never cut: the first 15 bytes may be the name of another interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IfName {
    /// Padded with NUL; at least one NUL is there.
    bytes: [u8; IFNAMSIZ],
}

/// Why some bytes are no interface name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// There are none.
    Empty,
    /// More than 15; how many.
    TooLong(usize),
    /// `.`, `..`, `all` and `default` are names of the kernel's own directories.
    Reserved,
    /// The first byte that no interface name contains.
    Byte(u8),
}

impl IfName {
    /// The loopback interface, which every network namespace has.
    pub const LOOPBACK: Self = Self {
        bytes: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    };

    /// The tap that QEMU makes first.
    pub const EXAMPLE_TAP: Self = Self {
        bytes: *b"tap0\0\0\0\0\0\0\0\0\0\0\0\0",
    };

    /// The bridge that Docker makes as it starts.
    pub const DOCKER_BRIDGE: Self = Self {
        bytes: *b"docker0\0\0\0\0\0\0\0\0\0",
    };

    /// The bridge where nobody names one.
    pub const DEFAULT_BRIDGE: Self = Self {
        bytes: *b"br0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    };

    /// Checks a name.
    ///
    /// # Errors
    /// The kernel would refuse the name, or read it as a pattern.
    pub fn new(name: &[u8]) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some(&byte) = name.iter().find(|&&b| !may_stand_in_a_name(b)) {
            return Err(NameError::Byte(byte));
        }
        if matches!(name, b"." | b".." | b"all" | b"default") {
            return Err(NameError::Reserved);
        }
        let mut bytes = [0; IFNAMSIZ];
        match bytes.get_mut(..name.len()) {
            Some(room) if name.len() < IFNAMSIZ => room.copy_from_slice(name),
            _ => return Err(NameError::TooLong(name.len())),
        }
        Ok(Self { bytes })
    }

    /// The name without padding.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split(|&b| b == 0).next().unwrap_or_default()
    }
}

/// `/` and `:` are the kernel's separators, `%` its pattern. White space is what the kernel's own `isspace()` takes
/// for it, which includes the no-break space of Latin-1 (lib/ctype.c).
fn may_stand_in_a_name(byte: u8) -> bool {
    !matches!(byte, 0 | b'/' | b':' | b'%' | b' ' | b'\t'..=b'\r' | 0xa0)
}

impl Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&Escaped(self.as_bytes()), f)
    }
}

impl Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IfName({self})")
    }
}

impl Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong(len) => write!(f, "it has {len} bytes, the kernel takes at most 15"),
            Self::Reserved => f.write_str("the kernel keeps that name for itself"),
            Self::Byte(byte) => write!(
                f,
                "the kernel takes no '{}' in an interface name",
                Escaped(&[*byte])
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_takes_are_kept_whole() {
        let names: [&[u8]; 8] = [
            b"tap0",
            b"a",
            b"123456789012345",
            b"...",
            b"-h",
            b"\x1b[31m",
            b"\xff\xfe",
            b"a'b\"c$d",
        ];
        for name in names {
            assert_eq!(IfName::new(name).unwrap().as_bytes(), name);
        }
    }

    #[test]
    fn names_that_the_kernel_refuses_are_refused() {
        let long = [b'a'; 16];
        let cases: [(&[u8], NameError); 15] = [
            (b"", NameError::Empty),
            (&long, NameError::TooLong(16)),
            (b".", NameError::Reserved),
            (b"..", NameError::Reserved),
            (b"all", NameError::Reserved),
            (b"default", NameError::Reserved),
            (b"a/b", NameError::Byte(b'/')),
            (b"eth0:1", NameError::Byte(b':')),
            (b"tap%d", NameError::Byte(b'%')),
            (b"a b", NameError::Byte(b' ')),
            (b"a\tb", NameError::Byte(b'\t')),
            (b"a\nb", NameError::Byte(b'\n')),
            (b"a\x0bb", NameError::Byte(0x0b)),
            (b"a\xa0b", NameError::Byte(0xa0)),
            (b"a\0b", NameError::Byte(0)),
        ];
        for (name, error) in cases {
            assert_eq!(IfName::new(name), Err(error), "{}", Escaped(name));
        }
    }
}
