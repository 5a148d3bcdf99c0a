//! Whether the stack invalidates at all.

use invalidator_core::mode::Mode as Chosen;

use crate::check::facts::{Facts, Mode};
use crate::check::finding::{Finding, Findings, Subject};

pub fn find(facts: &Facts, found: &mut Findings) {
    let subject = Subject::Stack;
    let live = "invalidatorctl mode live";
    match &facts.mode {
        None => {}
        Some(Mode::Unreadable(why)) => found.add(
            Finding::problem(
                "mode-unreadable",
                &subject,
                format!("the mode cannot be read: {why}"),
                "nothing is invalidated until a mode is chosen",
            )
            .fix(live),
        ),
        Some(Mode::Chosen(chosen)) if chosen.mode == Chosen::Live => {
            found.well(&subject, format!("the mode is {chosen}"));
        }
        Some(Mode::Chosen(chosen)) => found.add(
            Finding::warning(
                "not-live",
                &subject,
                format!("the mode is {chosen}"),
                chosen.mode.consequence(),
            )
            .fix(live),
        ),
    }
}

#[cfg(test)]
mod tests {
    use invalidator_core::mode::ChosenMode;

    use super::*;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn any_other_mode_than_live_is_found() {
        for (mode, expected) in [
            (Chosen::Live, &[][..]),
            (Chosen::DryRun, &["not-live"]),
            (Chosen::Stopped, &["not-live"]),
        ] {
            let mut facts = facts();
            facts.mode = Some(Mode::Chosen(ChosenMode::initial(mode)));
            assert_eq!(rules(&facts, find), expected, "{mode}");
        }
        let mut facts = facts();
        facts.mode = Some(Mode::Unreadable("no JSON".to_owned()));
        assert_eq!(rules(&facts, find), ["mode-unreadable"]);
    }
}
