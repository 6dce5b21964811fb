//! What the brain is told of time while the engine is held up.

use super::*;
use std::collections::BTreeSet;
use std::net::TcpStream;

/// A block is handed over after this long at the latest, and a loaded machine may be late.
const UNSEEN: Duration = Duration::from_millis(60);

#[test]
fn time_never_passes_what_was_not_read() {
    if !in_namespace("engine::tests::stalls::time_never_passes_what_was_not_read") {
        return;
    }
    runtime().block_on(async {
        let brain = ticking();
        brain.order(open(Binding::Any));
        brain.0.lock().unwrap().bursts = 8;
        let options = EngineOptions { ports: BTreeSet::from([3_333]), ..EngineOptions::default() };
        let (engine, _events) = start_with(brain.clone(), options, &Handle::current()).unwrap();
        // Packets that come while the brain thinks: SYNs and their resets.
        let knocking = std::thread::spawn(|| {
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_millis(1_500) {
                assert!(TcpStream::connect(("127.0.0.1", 3_333)).is_err());
                std::thread::yield_now();
            }
        });
        brain.until("all bursts were thought over", |script| script.bursts == 0).await;
        knocking.join().unwrap();
        let (ahead, count) = {
            let script = brain.0.lock().unwrap();
            (script.ahead, script.captured.len())
        };
        engine.stop().await;
        assert!(count > 100, "{count} packets");
        assert!(ahead < UNSEEN, "told {ahead:?} more than was read");
    });
}
