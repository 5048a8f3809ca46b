//! Untrusted text made safe to show: escaped for terminals and logs, quoted for a shell.

use std::fmt::{self, Display, Write};

/// Untrusted bytes (names, paths, ext ACK messages) as they may reach a terminal or a log.
///
/// Printable ASCII stays; everything else, and the backslash, becomes `\xNN`, so that nothing can start an
/// escape sequence, forge a second log line or look like a character that it is not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl<'a> Escaped<'a> {
    /// The first 64 bytes, enough for a message.
    pub(crate) fn truncated(text: &'a [u8]) -> Self {
        Self(text.get(..64).unwrap_or(text))
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'\\' => f.write_str("\\x5c")?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// Bytes quoted as one word of a POSIX shell command; `sh` reads back exactly these bytes.
///
/// The quoted word is printable ASCII, whatever the bytes are, because it is shown on terminals too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShellQuoted<'a>(pub(crate) &'a [u8]);

impl Display for ShellQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_.,+@=-/".contains(b);
        if !self.0.is_empty() && self.0.iter().all(plain) {
            return write!(f, "{}", Escaped(self.0));
        }
        if self.0.iter().all(|b| matches!(b, b' '..=b'~')) {
            let quoted = String::from_utf8_lossy(self.0).replace('\'', r"'\''");
            return write!(f, "'{quoted}'");
        }
        // Octal escapes of printf(1) are the only portable way to write a byte that a terminal must not see.
        f.write_str("\"$(printf '")?;
        for byte in self.0 {
            write!(f, "\\{byte:03o}")?;
        }
        f.write_str("')\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_passes_unchanged() {
        assert_eq!(Escaped(b"tap0 ok").to_string(), "tap0 ok");
        assert_eq!(
            Escaped(b"\x1b[31m\n\\\xff\x7f").to_string(),
            r"\x1b[31m\x0a\x5c\xff\x7f"
        );
    }

    #[test]
    fn a_shell_reads_back_the_same_bytes() {
        use std::os::unix::ffi::OsStrExt;
        let words: [&[u8]; 6] = [
            b"tap0",
            b"a'b",
            b"$(id)`;&|<>",
            b"",
            b"\x1b[2J\xff",
            b"\"\\*?",
        ];
        for word in words {
            let script = format!("printf %s {}", ShellQuoted(word));
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(std::ffi::OsStr::from_bytes(script.as_bytes()))
                .output()
                .unwrap();
            assert_eq!(output.stdout, word, "{script}");
        }
    }
}
