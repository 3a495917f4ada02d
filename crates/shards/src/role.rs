//! Who speaks: the role that every token carries.

use std::fmt;

/// The role of a turn, and of every token in it, markers and line ends included.
///
/// The numbers are the reference's (`IntRole` of Open-Assistant's pretokenizer); only [`Role::Assistant`] is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Instructions to the model.
    System = 0,
    /// The human; Open-Assistant's "prompter".
    User = 1,
    /// The model.
    Assistant = 2,
    /// A text that an answer rests on.
    Context = 3,
}

impl Role {
    /// All roles, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::System, Self::User, Self::Assistant, Self::Context];

    /// The number in `P-role.bin`.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The word in the header of a turn.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Context => "context",
        }
    }
}

impl TryFrom<u8> for Role {
    type Error = u8;

    /// The role of a number; a number that is no role comes back.
    fn try_from(id: u8) -> Result<Self, u8> {
        Self::ALL.get(usize::from(id)).copied().ok_or(id)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
