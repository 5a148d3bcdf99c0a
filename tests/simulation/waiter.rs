//! `invalidatorctl wait`, with the rules of the product: it sends fences behind the changes, and decides when
//! they are all accepted or rejected.

use std::time::Duration;

use fastrand::Rng;
use invalidator_core::event::BucketName;
use invalidator_core::fence::waiter::{Depth, Round, Verdict, observe, verdict};
use invalidator_core::fence::{FOLDER, Fence, FlushSays};
use invalidator_core::tick::Window;
use tokio::time::sleep;

use crate::scenario::BUCKETS;
use crate::world::{Sim, milliseconds};

/// How long `wait` waits by default before it sends a fence, because a change must have reached the buffer.
pub const SETTLE: Duration = Duration::from_secs(2);

/// How long one waits after the last fault.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// A wait that ended.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// What was buffered by then is waited for.
    pub from: Duration,
    /// When it said that all was accepted or rejected, if it did.
    pub done: Option<Duration>,
}

pub async fn wait(sim: Sim, from: Duration) {
    sleep(from + SETTLE).await;
    let until = sim.world().scenario.healed_at + PATIENCE;
    let mut rounds = Vec::new();
    let done = loop {
        let now = sim.now();
        if now > until {
            break None;
        }
        match look(&sim, &mut rounds) {
            Verdict::Done => break Some(now),
            Verdict::Again(why) => {
                sim.trace(|| format!("a fence is sent: {why}"));
                rounds.push(send(&sim));
            }
            Verdict::Wait(_) => {}
        }
        tick(&sim);
        sleep(Duration::from_secs(2)).await;
    };
    sim.trace(|| format!("a wait from {from:?} ends: {done:?} {rounds:?}"));
    let mut world = sim.world();
    world.waited.push(Waited { from, done });
    world.pending -= 1;
}

fn now(sim: &Sim) -> u64 {
    let phase = sim.world().scenario.phase;
    milliseconds(phase, sim.now()).parse().unwrap()
}

fn send(sim: &Sim) -> Round {
    let (since, sent) = (sim.now(), now(sim));
    let mut world = sim.world();
    let mut rng: Rng = world.rng.fork();
    let fence = Fence::new(rng.u128(..), BUCKETS.map(BucketName::new).to_vec());
    let body = fence.to_json().unwrap();
    let buffer = &mut world.buffer;
    buffer.send(&body, "", None, Duration::ZERO, since, &mut rng);
    Round::new(fence.id, sent)
}

fn tick(sim: &Sim) {
    let debounce = sim.world().scenario.debounce;
    let id = Window::at(sim.time_of_day(0), debounce).deduplication_id();
    {
        let now = sim.now();
        let mut world = sim.world();
        let mut rng = world.rng.fork();
        let tick = &mut world.tick;
        tick.send(&id, "flush", Some(&id), Duration::ZERO, now, &mut rng);
    }
    sim.notify();
}

fn look(sim: &Sim, rounds: &mut [Round]) -> Verdict {
    let (at, now) = (now(sim), sim.now());
    let world = sim.world();
    for round in rounds.iter_mut() {
        let folder = format!("{FOLDER}{}/", round.id);
        for key in world.objects.keys(&folder) {
            let (_, _, body) = world.objects.get(&key);
            match key.trim_start_matches(&folder) {
                "flush" => round.says = FlushSays::from_json(&body),
                group => _ = round.passed.insert(group.to_owned()),
            }
        }
    }
    let (in_flight, delayed) = world.buffer.hidden(now);
    let visible = world.buffer.messages().len() - in_flight - delayed;
    let depth = Depth {
        visible,
        in_flight,
        delayed,
    };
    observe(rounds, depth, at);
    verdict(rounds, depth, at)
}
