//! The whole monitor in a virtual world: what it concludes, how fast, and for how many packets.

mod once;
mod scene;
mod watch;
