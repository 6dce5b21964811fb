//! The whole monitor in a virtual world: what it concludes, how fast, and for how many packets.

mod hostile;
mod once;
mod performance;
mod scene;
mod sweep;
mod sweeps;
mod watch;
