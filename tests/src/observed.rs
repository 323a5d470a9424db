//! Recorded truth: cases that were observed on a real mesh, played against ours.
//!
//! [`case`] is the recording, [`fixture`] the roles it needs, [`world`] those roles as processes with our sidecars,
//! control plane and API server. [`play`] applies a case's configuration, sends its requests with [`client`] and gathers
//! an [`outcome`], which [`compare`] holds against the recording. [`verdict`] keeps the list of cases that must pass, [`better`] those where we
//! answer differently on purpose.

pub mod access_log;
pub mod better;
pub mod case;
pub mod children;
pub mod client;
pub mod cluster;
pub mod compare;
pub mod fixture;
pub mod outcome;
pub mod places;
pub mod play;
pub mod verdict;
pub mod world;
