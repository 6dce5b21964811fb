//! Integration tests.
mod check;
mod daemon;
mod peers;
mod power;
mod scenarios;
mod support;
mod tap;
mod tidy;
mod virtual_internet;
