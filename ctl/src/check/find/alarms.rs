//! Alarms that are on, and those that nobody would hear.

use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings, Subject};
use crate::quote::command;

pub fn find(facts: &Facts, found: &mut Findings) {
    let Some(alarms) = &facts.alarms else {
        return;
    };
    let subject = Subject::Mail;
    if alarms.is_empty() {
        found.add(
            Finding::problem(
                "no-alarms",
                &subject,
                "the stack has no alarms",
                "nobody is told if changes no longer reach CloudFront",
            )
            .fix("sam deploy"),
        );
        return;
    }
    let mut is_well = true;
    for alarm in alarms.iter().filter(|it| it.is_muted) {
        is_well = false;
        found.add(
            Finding::warning(
                "alarm-muted",
                &subject,
                format!("the actions of the alarm {} are off", alarm.name),
                "nobody is told when it is raised",
            )
            .fix(command([
                "aws",
                "cloudwatch",
                "enable-alarm-actions",
                "--alarm-names",
                &alarm.name,
            ])),
        );
    }
    for alarm in alarms.iter().filter(|it| it.is_on) {
        is_well = false;
        // Its name ends with that of the template and an id: `invalidator-PathsRejected-1A2B`.
        let parts = alarm.name.strip_prefix(&format!("{}-", facts.stack.name));
        let name = parts
            .and_then(|it| it.split('-').next())
            .unwrap_or("alarms");
        found.add(
            Finding::warning(
                "alarm-on",
                &subject,
                format!("the alarm {} is on", alarm.name),
                "docs/operate.md says what it means and what to do",
            )
            .fix(format!("# see docs/operate.md#{}", name.to_lowercase())),
        );
    }
    if is_well {
        found.well(&subject, format!("{} alarms, none is on", alarms.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::facts::Alarm;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn alarms_that_are_on_or_off_or_gone_are_found() {
        let alarm = |is_on, is_muted| Alarm {
            name: "invalidator-PathsRejected-1A2B".to_owned(),
            is_on,
            is_muted,
        };
        for (alarms, expected) in [
            (vec![alarm(false, false)], &[][..]),
            (vec![alarm(true, false)], &["alarm-on"]),
            (vec![alarm(false, true)], &["alarm-muted"]),
            (vec![], &["no-alarms"]),
        ] {
            let mut facts = facts();
            facts.alarms = Some(alarms);
            assert_eq!(rules(&facts, find), expected);
        }
        let mut facts = facts();
        facts.alarms = Some(vec![alarm(true, false)]);
        let mut found = Findings::default();
        find(&facts, &mut found);
        assert_eq!(found.all[0].fix, ["# see docs/operate.md#pathsrejected"]);
    }
}
