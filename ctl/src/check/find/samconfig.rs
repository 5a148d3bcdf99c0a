//! What the next `sam deploy` from this folder would undo.

use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings, Subject};
use crate::quote::quoted;

pub fn find(facts: &Facts, found: &mut Findings) {
    let Some(samconfig) = &facts.samconfig else {
        return;
    };
    let subject = Subject::Stack;
    let mut is_same = true;
    for (name, saved) in &samconfig.overrides {
        let Some(deployed) = facts.stack.parameters.get(name) else {
            continue;
        };
        if deployed == saved {
            continue;
        }
        is_same = false;
        let file = &samconfig.file;
        found.add(
            Finding::warning(
                "samconfig-differs",
                &subject,
                format!("{file} says {name} is `{saved}`, and `{deployed}` is deployed"),
                "the next plain `sam deploy` brings the value of the file back",
            )
            .fix(format!(
                "# write {name}={} into parameter_overrides of {file}",
                quoted(deployed)
            )),
        );
    }
    if is_same {
        found.well(
            &subject,
            format!("{} says what is deployed", samconfig.file),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::check::facts::Samconfig;
    use crate::check::find::testing::{facts, rules};

    #[test]
    fn a_value_that_a_deployment_would_undo_is_found() {
        for (saved, expected) in [
            (("DebounceSeconds", "10"), &[][..]),
            (("DebounceSeconds", "30"), &["samconfig-differs"]),
            (("Unknown", "30"), &[]),
        ] {
            let mut facts = facts();
            facts.samconfig = Some(Samconfig {
                file: "samconfig.toml".to_owned(),
                overrides: BTreeMap::from([(saved.0.to_owned(), saved.1.to_owned())]),
            });
            assert_eq!(rules(&facts, find), expected, "{saved:?}");
        }
    }
}
