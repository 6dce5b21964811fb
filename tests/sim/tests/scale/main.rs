//! The sweep and the monitor at the size they are made for, in virtual time.

mod alarms;
mod day;
mod event;
mod fair;
mod forged;
mod million;
