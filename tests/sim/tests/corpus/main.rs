//! The corpus: that it is what the manifest says, and that the judge does not fall behind on it.

mod floors;
mod manifest;
mod scores;
