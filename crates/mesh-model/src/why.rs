//! Why a decision went as it did: decisions note every rule that they consider, and why it lost, in a recorder that
//! compiles to nothing when nobody asks.

/// Takes note of what a decision considers. The decision is the same with every recorder.
pub trait Why {
    /// Whether notes are wanted. Where they are not, decisions stop at the first winner and format nothing.
    const ON: bool;

    /// Notes a candidate; `make` runs only where notes are wanted.
    fn note(&mut self, make: impl FnOnce() -> Considered);
}

/// Nobody asks: the recorder of the request path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoWhy;

impl Why for NoWhy {
    const ON: bool = false;

    #[inline(always)]
    fn note(&mut self, _: impl FnOnce() -> Considered) {}
}

/// Keeps every note, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes(pub Vec<Considered>);

impl Why for Notes {
    const ON: bool = true;

    fn note(&mut self, make: impl FnOnce() -> Considered) {
        self.0.push(make());
    }
}

/// A candidate of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Position in the list that the decision looks through.
    pub position: usize,
    /// Whether it won.
    pub won: bool,
    /// Why it won or lost.
    pub reason: String,
}

impl Considered {
    /// The winner.
    pub fn won(position: usize, reason: impl Into<String>) -> Self {
        Self {
            position,
            won: true,
            reason: reason.into(),
        }
    }

    /// A loser.
    pub fn lost(position: usize, reason: impl Into<String>) -> Self {
        Self {
            position,
            won: false,
            reason: reason.into(),
        }
    }
}

// The request path carries no recorder.
const _: () = assert!(size_of::<NoWhy>() == 0);
