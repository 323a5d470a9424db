//! Recorded truth: cases that were observed on a real mesh, played against ours.
