//! A seeded virtual network in virtual time for the monitor.
