//! Whether changes are held back, and for how long.

use time::Duration;

use crate::check::facts::{Facts, Paused};
use crate::check::finding::{Finding, Findings, Subject};
use crate::held::Place;
use crate::quote::command;

/// Somebody may have forgotten a pause that is older.
const LONG: Duration = Duration::days(1);

pub fn find(facts: &Facts, found: &mut Findings) {
    let subject = Subject::Stack;
    let resume = |place: Place| {
        let place = place.to_string();
        command(["invalidatorctl", "resume", &place])
    };
    let overview = match &facts.paused {
        None => return,
        Some(Paused::Unreadable(why)) => {
            found.add(Finding::problem(
                "pauses-unreadable",
                &subject,
                format!("what is paused cannot be read: {why}"),
                "a function that knows no list of pauses receives nothing",
            ));
            return;
        }
        Some(Paused::Known(overview)) => overview,
    };
    for paused in &overview.pauses {
        let place = Place {
            bucket: paused.bucket.clone(),
            prefix: paused.prefix.clone(),
        };
        let (what, why) = (
            paused.to_string(),
            "visitors see old pages of these keys until it is resumed",
        );
        let is_long = facts.now - paused.pause.since > LONG;
        let finding = match is_long || paused.is_being_resumed {
            true if paused.is_being_resumed => {
                Finding::warning("resume-not-finished", &subject, what, why)
            }
            true => Finding::warning("paused-for-long", &subject, what, why),
            false => Finding::note("paused", &subject, what, why),
        };
        found.add(finding.fix(resume(place)));
    }
    for left in &overview.left {
        let place = Place {
            bucket: left.bucket.clone(),
            prefix: String::new(),
        };
        let finding = Finding::warning(
            "held-changes-left",
            &subject,
            left.to_string(),
            "a resume was interrupted, or the list of pauses was lost",
        );
        found.add(finding.fix(resume(place)));
    }
}

#[cfg(test)]
mod tests {
    use invalidator_core::event::BucketName;
    use invalidator_core::pause::Pause;

    use super::*;
    use crate::check::find::testing::{facts, rules};
    use crate::held::{Amount, Left, Overview, Paused as OnePause};

    #[test]
    fn a_pause_is_a_note_and_a_warning_once_it_is_old_or_half_resumed() {
        let mut facts = facts();
        assert!(rules(&facts, find).is_empty());
        for (hours, is_being_resumed, expected) in [
            (1, false, "paused"),
            (25, false, "paused-for-long"),
            (1, true, "resume-not-finished"),
        ] {
            let since = facts.now - Duration::hours(hours);
            let place = (BucketName::new("site"), "img/".to_owned());
            let pause = Pause::new(1, place, since, "ada".to_owned(), String::new());
            let paused = OnePause {
                bucket: pause.bucket.clone(),
                prefix: pause.prefix.clone(),
                since: pause.since(),
                by: pause.by.clone(),
                why: String::new(),
                is_being_resumed,
                held: Amount::default(),
                pause,
            };
            let overview = Overview {
                pauses: vec![paused],
                left: Vec::new(),
            };
            facts.paused = Some(Paused::Known(overview));
            assert_eq!(rules(&facts, find), [expected]);
        }
        let left = Left {
            bucket: BucketName::new("site"),
            held: Amount::default(),
        };
        facts.paused = Some(Paused::Known(Overview {
            pauses: Vec::new(),
            left: vec![left],
        }));
        assert_eq!(rules(&facts, find), ["held-changes-left"]);
        facts.paused = Some(Paused::Unreadable("no JSON".to_owned()));
        assert_eq!(rules(&facts, find), ["pauses-unreadable"]);
    }
}
