//! Which of the two programs runs, and how much it prints.

/// Which of the two programs runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ifup,
    Ifdown,
}

impl Program {
    /// Its name, as messages and the log have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ifup => "qemu-ifup",
            Self::Ifdown => "qemu-ifdown",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Ifup => Self::Ifdown,
            Self::Ifdown => Self::Ifup,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Errors and notices.
    #[default]
    Normal,
    /// Every step as well.
    Verbose,
}
