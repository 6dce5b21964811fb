//! A box on the path that forges: on seeing a SYN it sends a reset in the target's name, while the
//! real answer passes.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::kernel::{self, Travel};
use crate::node::{Node, in_namespace};
use crate::packet::{ACK, Envelope, Packet, RST, SYN, Segment};

/// A forger at work in a router; it stops when dropped.
#[derive(Debug)]
pub struct Injector {
    forged: Arc<AtomicUsize>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Injector {
    /// Says how many resets it has sent.
    pub fn forged(&self) -> usize {
        self.forged.load(Ordering::Relaxed)
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        // Closing our end wakes the thread.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts a forger in a router: each SYN to `port` that passes draws a forged RST with ACK, whose
/// TTL is 64 where it starts.
pub fn rst_injector(router: &Node, port: u16) -> Result<Injector> {
    let (stop, stopped) = UnixStream::pair().context("make a socket pair")?;
    let open = || -> std::io::Result<Forger> {
        Ok(Forger {
            inlet: kernel::packet_socket()?,
            outlet_v4: kernel::raw_socket(IpAddr::from([0; 4]))?,
            outlet_v6: kernel::raw_socket(IpAddr::from([0_u16; 8]))?,
            port,
            stopped,
        })
    };
    let forger =
        in_namespace(router, open)?.with_context(|| format!("open sockets in {router}"))?;
    let forged = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&forged);
    let work = move || {
        if let Err(error) = forger.run(&counter) {
            eprintln!("the reset injector ended: {error}");
        }
    };
    let thread = thread::Builder::new().name("rst-injector".into()).spawn(work);
    Ok(Injector { forged, stop: Some(stop), thread: Some(thread.context("start a thread")?) })
}

struct Forger {
    inlet: OwnedFd,
    outlet_v4: OwnedFd,
    outlet_v6: OwnedFd,
    port: u16,
    stopped: UnixStream,
}

impl Forger {
    fn run(&self, forged: &AtomicUsize) -> std::io::Result<()> {
        let mut buffer = [0; 2048];
        loop {
            let [_, is_stopped] =
                kernel::wait_readable([self.inlet.as_fd(), self.stopped.as_fd()], None)?;
            if is_stopped {
                return Ok(());
            }
            // A forwarded packet is seen twice, coming and going; the first sight counts.
            if let Some((length, Travel::Incoming)) =
                kernel::receive_packet(&self.inlet, &mut buffer)?
                && let Some((reset, to)) = self.forge(&buffer[..length])
            {
                let outlet = match to {
                    IpAddr::V4(_) => &self.outlet_v4,
                    IpAddr::V6(_) => &self.outlet_v6,
                };
                kernel::send_raw(outlet, &reset, to)?;
                forged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn forge(&self, bytes: &[u8]) -> Option<(Vec<u8>, IpAddr)> {
        let packet = Packet::parse(bytes)?;
        let syn = packet.tcp()?;
        if syn.target_port != self.port || syn.flags? & (SYN | ACK | RST) != SYN {
            return None;
        }
        // RFC 9293 3.10.7.1: the answer to a segment without ACK has sequence 0 and acknowledges
        // the SYN; anything else a client in SYN-SENT would ignore.
        let reset = Segment {
            source_port: syn.target_port,
            target_port: syn.source_port,
            sequence: 0,
            acknowledged: Some(syn.sequence.wrapping_add(1)),
            flags: Some(RST | ACK),
        };
        let envelope = Envelope { source: packet.target, target: packet.source, ttl: FORGED_TTL };
        Some((envelope.tcp(reset), packet.source))
    }
}

const FORGED_TTL: u8 = 64;
