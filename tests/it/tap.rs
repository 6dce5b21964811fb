//! The capture ring on every kind of device: what the daemon counts is compared with what the
//! wire's far side counted, and both must agree to the packet.

mod books;
mod checksums;
mod devices;
mod firewall;
mod reborn;
mod responder;
mod routes;
mod stateful;
mod untrue;
mod wires;
