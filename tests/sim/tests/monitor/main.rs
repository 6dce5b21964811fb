//! The whole monitor in a virtual world: what it concludes, how fast, and for how many packets.

mod answers;
mod groups;
mod hostile;
mod loss;
mod once;
mod performance;
mod ports;
mod rdp;
mod recurrence;
mod rhythm;
mod scene;
mod sweep;
mod sweeps;
mod uplinks;
mod vantages;
mod watch;
