//! Outside text made safe to show: escaped for terminals and logs, quoted for a shell.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Write};

/// Bytes from outside (names, paths, the kernel's own words) as they may reach a terminal or a log.
///
/// Printable ASCII stays; everything else, and the backslash, becomes `\xNN`, so that nothing can start an
/// escape sequence, forge a second log line or look like a character that it is not.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl<'a> Escaped<'a> {
    /// As much of a word as a message has room for.
    pub fn start_of(word: &'a [u8]) -> Self {
        Self(word.get(..64).unwrap_or(word))
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

/// Bytes as one word of a POSIX shell command; `sh` reads back exactly these bytes.
///
/// The word itself is printable ASCII, whatever the bytes are, because it is shown on terminals too.
#[derive(Debug, Clone, Copy)]
pub struct ShellWord<'a>(pub &'a [u8]);

impl Display for ShellWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_.,+@=-".contains(b);
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
            let script = format!("printf %s {}", ShellWord(word));
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(std::ffi::OsStr::from_bytes(script.as_bytes()))
                .output()
                .unwrap();
            assert_eq!(output.stdout, word, "{script}");
        }
    }
}
