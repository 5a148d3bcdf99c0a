//! `invalidatorctl pause` and `resume`, step by step, with time between the steps.

use std::time::Duration;

use fastrand::Rng;
use invalidator_core::event::BucketName;
use invalidator_core::pause::{HELD_FOLDER, HeldKey, PAUSES_KEY, Pause, Pauses};
use invalidator_core::state::{StateObject, from_bytes};
use tokio::time::sleep;

use crate::scenario::Paused;
use crate::world::Sim;

/// When somebody looks once more for what a flush has left that died between its write and its look.
const LATER: Duration = Duration::from_secs(1_200);

pub async fn pause_and_resume(sim: Sim, number: u64, paused: Paused) {
    sleep(paused.from).await;
    let now = sim.time_of_day(0).into();
    let place = (BucketName::new(paused.bucket), paused.prefix.to_owned());
    let pause = Pause::new(number, place, now, "operator".to_owned(), String::new());
    let id = pause.id.clone();
    change(&sim, |list| assert!(list.begin(pause.clone())));
    sleep(paused.until - paused.from).await;
    change(&sim, |list| assert!(list.resume(&[&id])));
    put_back(&sim, &id).await;
    change(&sim, |list| assert!(list.remove(&[&id])));
    let healed_at = sim.world().scenario.healed_at;
    sleep((healed_at + LATER).saturating_sub(sim.now())).await;
    put_back(&sim, &id).await;
    sim.world().pending -= 1;
}

fn change(sim: &Sim, change: impl FnOnce(&mut Pauses)) {
    let mut world = sim.world();
    let (status, _, body) = world.objects.get(PAUSES_KEY);
    let mut list: Pauses = match status {
        200 => from_bytes(body.as_bytes()).unwrap(),
        _ => Pauses::default(),
    };
    change(&mut list);
    let body = list.to_json().unwrap();
    world.objects.put(PAUSES_KEY, ("", ""), &body);
}

/// Puts all that is held back into the buffer, object by object.
async fn put_back(sim: &Sim, id: &str) {
    loop {
        pause_a_moment(sim).await;
        let keys = sim.world().objects.keys(HELD_FOLDER);
        let is_of_it = |key: &String| HeldKey::of(key).unwrap().pause == id;
        let keys: Vec<_> = keys.into_iter().filter(is_of_it).collect();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            pause_a_moment(sim).await;
            let now = sim.now();
            {
                let mut world = sim.world();
                let (_, _, text) = world.objects.get(&key);
                let mut rng: Rng = world.rng.fork();
                world.held += 1;
                for line in text.lines() {
                    world.put_back += 1;
                    let buffer = &mut world.buffer;
                    buffer.send(line, "", None, Duration::ZERO, now, &mut rng);
                }
            }
            pause_a_moment(sim).await;
            sim.trace(|| format!("{key} is put back"));
            sim.world().objects.delete(&key);
        }
        // A tick of the same body may be known, but the next sweep is a tick too.
        let now = sim.now();
        {
            let mut world = sim.world();
            let mut rng = world.rng.fork();
            let id = format!("resume-{}", now.as_nanos());
            let tick = &mut world.tick;
            tick.send(&id, "flush", Some(&id), Duration::ZERO, now, &mut rng);
        }
        sim.notify();
    }
}

async fn pause_a_moment(sim: &Sim) {
    let milliseconds = sim.world().rng.u64(1..700);
    sleep(Duration::from_millis(milliseconds)).await;
}
