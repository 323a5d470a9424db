//! What Istio's admission refuses beyond the schema, and what we refuse because it would harm.

use crate::object::Object;
use crate::problem::Problem;

/// Adds every problem that the object has by itself.
pub(crate) fn object(object: &Object, problems: &mut Vec<Problem>) {
    let _ = (object, problems);
}
