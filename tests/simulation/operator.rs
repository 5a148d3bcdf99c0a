//! `invalidatorctl pause` and `resume`, step by step, with time between the steps.

use std::time::Duration;

use fastrand::Rng;
use invalidator_core::event::BucketName;
use invalidator_core::pause::{HELD_FOLDER, HeldKey, PAUSES_KEY, Pause, Pauses};
use invalidator_core::state::{StateObject, from_bytes};
use tokio::time::sleep;

use crate::scenario::Paused;
use crate::world::Sim;

/// When what is left is thrown away: a flush has written it that has then seen the resume, or died. Its changes are
/// planned, or back in the buffer, so that loses nothing.
const LATER: Duration = Duration::from_secs(1_200);

pub async fn pause_and_resume(sim: Sim, number: u64, paused: Paused) {
    sleep(paused.from).await;
    let now = sim.time_of_day(0).into();
    let place = (BucketName::new(paused.bucket), paused.prefix.to_owned());
    let pause = Pause::new(number, place, now, "operator".to_owned(), String::new());
    let id = pause.id.clone();
    change(&sim, |list| assert!(list.begin(pause.clone())));
    sleep(paused.until - paused.from).await;
    wait_for_a_look(&sim).await;
    change(&sim, |list| assert!(list.resume(&[&id])));
    put_back(&sim, &id).await;
    change(&sim, |list| assert!(list.remove(&[&id])));
    let healed_at = sim.world().scenario.healed_at;
    sleep((healed_at + LATER).saturating_sub(sim.now())).await;
    let keys = of_pause(&sim, &id);
    let mut world = sim.world();
    world.thrown_away += keys.len() as u64;
    keys.iter().for_each(|key| world.objects.delete(key));
    world.pending -= 1;
}

/// Waits until a flush has just read the list, if one does soon: then it may be about to write.
async fn wait_for_a_look(sim: &Sim) {
    let (wanted, moment) = {
        let mut world = sim.world();
        let more = world.rng.u64(1..4);
        (world.looks + more, world.rng.u64(0..60))
    };
    for _ in 0..5_000 {
        if sim.world().looks >= wanted {
            sleep(Duration::from_millis(moment)).await;
            return;
        }
        sleep(Duration::from_millis(3)).await;
    }
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
        let keys = of_pause(sim, id);
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

/// The objects that are held back for a pause.
fn of_pause(sim: &Sim, id: &str) -> Vec<String> {
    let keys = sim.world().objects.keys(HELD_FOLDER).into_iter();
    let is_of_it = |key: &String| HeldKey::of(key).unwrap().pause == id;
    keys.filter(is_of_it).collect()
}

async fn pause_a_moment(sim: &Sim) {
    let milliseconds = sim.world().rng.u64(1..700);
    sleep(Duration::from_millis(milliseconds)).await;
}
