//! [`Advice`]: what helps, and the command that does it, where there is one.

use std::borrow::Cow;

use crate::escape::ShellQuoted;
use crate::model::if_name::IfName;
use crate::model::spec::TapAccess;

/// Who reads a command: the uid that they have in their shell, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader(pub(crate) Option<u32>);

/// What somebody can do: a text, and the command that does it. The text then ends before ": COMMAND".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) text: Cow<'static, str>,
    pub(crate) command: Option<Command>,
}

impl Advice {
    /// Advice without a command.
    pub(crate) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self {
            text,
            command: None,
        }
    }

    /// Advice to run a command; the text says what it does.
    pub(crate) fn run(text: impl Into<Cow<'static, str>>, command: Command) -> Self {
        Self {
            text: text.into(),
            command: Some(command),
        }
    }

    /// One line for this reader.
    pub(crate) fn for_reader(&self, reader: Reader) -> String {
        match &self.command {
            Some(command) => format!("{}: {}", self.text, command.for_reader(reader)),
            None => self.text.clone().into_owned(),
        }
    }
}

/// A command of sh(1), which knows which of its parts need root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// What stands between it and the part before.
    joint: &'static str,
    needs: Needs,
    words: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Root,
    /// Root, or this user.
    User(u32),
}

impl Command {
    /// A command that needs no privilege.
    pub(crate) fn plain(words: impl Into<Cow<'static, str>>) -> Self {
        Self(Vec::new()).with("", Needs::Nothing, words.into())
    }

    /// A command that needs root.
    pub(crate) fn root(words: impl Into<Cow<'static, str>>) -> Self {
        Self(Vec::new()).with("", Needs::Root, words.into())
    }

    /// A command that needs root, or this user.
    pub(crate) fn user(uid: u32, words: impl Into<Cow<'static, str>>) -> Self {
        Self(Vec::new()).with("", Needs::User(uid), words.into())
    }

    /// Deletes a tap, which its owner can do without root.
    pub(crate) fn delete(tap: IfName, access: Option<TapAccess<u32>>) -> Self {
        let words = format!("qemu-ifdown --delete {}", ShellQuoted(tap.as_bytes()));
        match access {
            Some(TapAccess::Owner(uid)) => Self::user(uid, words),
            Some(TapAccess::Group(_)) | None => Self::root(words),
        }
    }

    /// Adds a line to a file of root's.
    pub(crate) fn append(line: &[u8], file: &str) -> Self {
        let echo = Self::plain(format!("echo {}", ShellQuoted(line)));
        echo.pipe_root(format!("tee -a {file}"))
    }

    /// Then its output for a command that needs root.
    #[must_use]
    pub(crate) fn pipe_root(self, words: impl Into<Cow<'static, str>>) -> Self {
        self.with(" | ", Needs::Root, words.into())
    }

    /// Then, if that succeeded, another command.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        for part in other.0 {
            let joint = if part.joint.is_empty() {
                " && "
            } else {
                part.joint
            };
            self.0.push(Part { joint, ..part });
        }
        self
    }

    fn with(mut self, joint: &'static str, needs: Needs, words: Cow<'static, str>) -> Self {
        self.0.push(Part {
            joint,
            needs,
            words,
        });
        self
    }

    /// The command for this reader: with sudo(8) where they need it. Root needs none, which not every container has.
    pub(crate) fn for_reader(&self, Reader(uid): Reader) -> String {
        let mut line = String::new();
        for part in &self.0 {
            let needs_sudo = match part.needs {
                Needs::Nothing => false,
                Needs::Root => uid != Some(0),
                Needs::User(user) => uid != Some(0) && uid != Some(user),
            };
            line += part.joint;
            line += if needs_sudo { "sudo " } else { "" };
            line += &part.words;
        }
        line
    }
}
