//! The age of the root certificates that are built into the function, and into this program.

use invalidator_core::tls_roots;
use time::Duration;

use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings, Subject};

/// Above this age, a build should be replaced.
const OLD: Duration = Duration::days(365);

pub fn find(facts: &Facts, found: &mut Findings) {
    let subject = Subject::Function;
    let deployed = facts.function.as_ref().and_then(|it| it.last_modified);
    match deployed {
        Some(time) if facts.now - time > OLD => found.add(
            Finding::warning(
                "old-root-certificates",
                &subject,
                format!(
                    "it was last changed on {}, so its build, and the root certificates in it, are older than a \
                     year (its log says `started` with their date)",
                    time.date()
                ),
                "it trusts no server whose root AWS takes into use later",
            )
            .fix("git pull && sam build && sam deploy"),
        ),
        Some(time) => found.well(
            &subject,
            format!("it was last changed on {}, less than a year ago", time.date()),
        ),
        None => {}
    }
    if tls_roots::are_old(facts.now.date()) {
        found.add(
            Finding::warning(
                "old-command-line",
                &subject,
                format!(
                    "this invalidatorctl has root certificates of {}: a function of the same version has them too",
                    tls_roots::PUBLISHED
                ),
                "it trusts no server whose root AWS takes into use later",
            )
            .fix("git pull && cargo install --locked --path ctl"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn an_old_function_has_old_roots() {
        for (days, expected) in [(0, &[][..]), (365, &[]), (366, &["old-root-certificates"])] {
            let mut facts = facts();
            let age = Duration::days(days);
            facts.function.as_mut().unwrap().last_modified = Some(facts.now - age);
            assert_eq!(rules(&facts, find), expected, "{days}");
        }
        let mut facts = facts();
        facts.now += Duration::days(700);
        let found = rules(&facts, find);
        assert_eq!(found, ["old-root-certificates", "old-command-line"]);
    }
}
