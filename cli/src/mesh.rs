//! A mesh of plain processes: the supervisor with the embedded API server inside, control plane and console as its
//! children, and whatever a command adds to them (`sightline up`: nothing, `sightline demo`: the sample).

pub(crate) mod board;
pub(crate) mod host;
pub(crate) mod options;
pub(crate) mod programs;
pub(crate) mod shutdown;
