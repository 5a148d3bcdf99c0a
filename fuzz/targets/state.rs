//! Any state object is read or refused. What is read is written as it was, and whatever the state of the
//! incidents says, a new rejection is told.
#![no_main]

use std::fmt::Debug;

use invalidator_core::cost::ledger::Ledger;
use invalidator_core::incident::{CLAIM_SECONDS, Incidents, LONGEST_PERIOD, Rejection};
use invalidator_core::mode::ChosenMode;
use invalidator_core::pause::Pauses;
use invalidator_core::state::{StateObject, from_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(chosen) = round_trip::<ChosenMode>(bytes) {
        assert!(!chosen.to_string().is_empty());
    }
    round_trip::<Ledger>(bytes);
    round_trip::<Pauses>(bytes);
    if let Some(state) = round_trip::<Incidents>(bytes) {
        for now in [0, 1_800_000_000, 253_402_300_799] {
            tell(now, state.clone());
        }
    }
});

fn round_trip<T: StateObject + Debug + PartialEq>(bytes: &[u8]) -> Option<T> {
    let object: T = from_bytes(bytes).ok()?;
    let json = object.to_json().expect("what was read is written");
    assert_eq!(
        from_bytes::<T>(json.as_bytes()).as_ref(),
        Ok(&object),
        "what was written is read"
    );
    Some(object)
}

fn tell(now: u64, mut state: Incidents) {
    let rejection = Rejection {
        code: "AccessDenied".to_owned(),
        reason: "no".to_owned(),
        target: "E1".to_owned(),
        alias: "www.example.org".to_owned(),
        paths: 3_000,
        samples: vec!["/a".to_owned()],
        key: "invalidation_error/1_E1.txt".to_owned(),
        can_be_replayed: true,
    };
    state.record(now, &[rejection]);
    for days in 0..3 {
        let now = now + days * (LONGEST_PERIOD + 2 * CLAIM_SECONDS);
        let claims = state.claim(now);
        state.sent(now, &claims, true);
    }
    assert!(state.open.values().all(|it| it.untold.files == 0));
}
