//! Judging objects by what else is there.

use crate::{Problems, World};

/// Every problem of every object: of its own text (refused versions included) and of its references.
#[must_use]
pub fn analyze(world: &World) -> Problems {
    world.parse_problems().clone()
}
