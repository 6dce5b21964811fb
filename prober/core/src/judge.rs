//! The judge: signals in, a distribution over causes out. Pure inference, no probing.

pub mod cause;
pub mod class;
pub mod document;
mod honesty;
pub mod note;
pub mod posterior;
pub mod sign;
pub mod step;
pub mod text;
mod title;
pub mod verdict;
mod witness;

pub use cause::{Cause, Risk, Text};
pub use class::Class;
pub use note::Note;
pub use sign::{Family, Sign};
