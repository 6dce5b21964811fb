//! Integration tests.
mod check;
mod daemon;
mod peers;
mod scenarios;
mod support;
mod tap;
mod tidy;
mod virtual_internet;
