//! The capture ring on every kind of device.

/// What the daemon's own tests use to run one.
#[allow(dead_code, reason = "the daemon's tests are in another binary, and need more of it")]
mod daemon {
    pub(crate) mod harness;
    pub(crate) mod page;
}
mod tap;
