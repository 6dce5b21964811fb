//! Integration tests.
mod check;
mod daemon;
mod peers;
mod support;
mod tap;
mod tidy;
