//! [`IfName`]: the name of a network interface, always valid.

use std::fmt::{self, Debug, Display};

use crate::escape::Escaped;

/// The kernel's room for an interface name, its final NUL included (`IFNAMSIZ` in linux/if.h).
pub(crate) const IFNAMSIZ: usize = 16;

/// The name of a network interface, as the kernel accepts it: 1 to 15 bytes, by the rules of `dev_valid_name()` in
/// the kernel's net/core/dev.c, and without `%`, which it would expand.
///
/// A name that does not fit is refused, never cut: the first 15 bytes may be the name of another interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IfName {
    /// Padded with NUL; at least one NUL is there.
    bytes: [u8; IFNAMSIZ],
}

/// Why some bytes are not an interface name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfNameError {
    Empty,
    /// More than 15; how many.
    TooLong(usize),
    /// `.`, `..`, `all` and `default` are names of the kernel's own directories.
    Reserved,
    /// The first byte that the kernel does not accept in a name.
    InvalidByte(u8),
}

impl IfName {
    /// The loopback interface, which every network namespace has.
    pub(crate) const LOOPBACK: Self = Self::from_literal(b"lo");

    /// The tap that QEMU creates first.
    pub(crate) const EXAMPLE_TAP: Self = Self::from_literal(b"tap0");

    /// The bridge that Docker creates as it starts.
    pub(crate) const DOCKER_BRIDGE: Self = Self::from_literal(b"docker0");

    /// The bridge where nobody names one.
    pub(crate) const DEFAULT_BRIDGE: Self = Self::from_literal(b"br0");

    /// A name that stands in this file. One that is too long does not compile.
    const fn from_literal<const LEN: usize>(name: &[u8; LEN]) -> Self {
        const { assert!(LEN > 0 && LEN < IFNAMSIZ) };
        let mut bytes = [0; IFNAMSIZ];
        let (start, _) = bytes.split_at_mut(LEN);
        start.copy_from_slice(name);
        Self { bytes }
    }

    /// Validates a name. `%` is refused, since the kernel reads it as a pattern.
    pub(crate) fn new(name: &[u8]) -> Result<Self, IfNameError> {
        if name.is_empty() {
            return Err(IfNameError::Empty);
        }
        if let Some(&byte) = name.iter().find(|&&b| !is_valid_byte(b)) {
            return Err(IfNameError::InvalidByte(byte));
        }
        if matches!(name, b"." | b".." | b"all" | b"default") {
            return Err(IfNameError::Reserved);
        }
        let mut bytes = [0; IFNAMSIZ];
        match bytes.get_mut(..name.len()) {
            Some(room) if name.len() < IFNAMSIZ => room.copy_from_slice(name),
            _ => return Err(IfNameError::TooLong(name.len())),
        }
        Ok(Self { bytes })
    }

    /// The name without padding.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.split(|&b| b == 0).next().unwrap_or_default()
    }
}

/// `/` and `:` are the kernel's separators, `%` its pattern. White space is what the kernel's own `isspace()` takes
/// for it, which includes the no-break space of Latin-1 (lib/ctype.c).
fn is_valid_byte(byte: u8) -> bool {
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

impl Display for IfNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong(len) => write!(f, "it has {len} bytes; the maximum is 15"),
            Self::Reserved => f.write_str("the kernel reserves that name"),
            Self::InvalidByte(byte) => write!(
                f,
                "'{}' is not allowed in an interface name",
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
        let cases: [(&[u8], IfNameError); 15] = [
            (b"", IfNameError::Empty),
            (&long, IfNameError::TooLong(16)),
            (b".", IfNameError::Reserved),
            (b"..", IfNameError::Reserved),
            (b"all", IfNameError::Reserved),
            (b"default", IfNameError::Reserved),
            (b"a/b", IfNameError::InvalidByte(b'/')),
            (b"eth0:1", IfNameError::InvalidByte(b':')),
            (b"tap%d", IfNameError::InvalidByte(b'%')),
            (b"a b", IfNameError::InvalidByte(b' ')),
            (b"a\tb", IfNameError::InvalidByte(b'\t')),
            (b"a\nb", IfNameError::InvalidByte(b'\n')),
            (b"a\x0bb", IfNameError::InvalidByte(0x0b)),
            (b"a\xa0b", IfNameError::InvalidByte(0xa0)),
            (b"a\0b", IfNameError::InvalidByte(0)),
        ];
        for (name, error) in cases {
            assert_eq!(IfName::new(name), Err(error), "{}", Escaped(name));
        }
    }
}
