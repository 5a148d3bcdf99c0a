//! Multi-tenant distributions, which serve nothing themselves.

use super::served::is_wanted;
use crate::check::facts::Facts;
use crate::check::finding::{Finding, Findings};
use crate::quote::set_parameter;

pub fn find(facts: &Facts, found: &mut Findings) {
    let (Some(config), Some(distributions)) = (facts.config(), &facts.distributions) else {
        return;
    };
    let of_tenants = distributions.summaries.iter();
    let of_tenants = of_tenants.filter(|it| it.is_multi_tenant() && it.enabled);
    for summary in of_tenants.filter(|it| is_wanted(facts, &it.id)) {
        let subject = facts.subject_of(&summary.id);
        let tenants = distributions.serving.iter();
        let tenants = tenants.filter(|it| it.id.as_str() == summary.id);
        let tenants: usize = tenants.map(|it| it.targets.len()).sum();
        let named = config.tenant_ids.as_ref();
        match named {
            Some(named) if named.is_empty() => {
                let ids = facts.stack.parameter("DistributionIds");
                found.add(
                    Finding::warning(
                        "tenants-left-out",
                        &subject,
                        "it serves tenants only, and DistributionIds names none",
                        "with a list of distributions, only the tenants in it are invalidated",
                    )
                    .fix(format!(
                        "aws cloudfront list-distribution-tenants --association-filter DistributionId={}",
                        summary.id
                    ))
                    .fix(set_parameter(
                        &facts.stack.name,
                        &facts.stack.parameters,
                        "DistributionIds",
                        &format!("{ids},TENANT"),
                    )),
                );
            }
            _ if tenants == 0 => found.add(Finding::note(
                "no-tenants",
                &subject,
                "it serves tenants only, and no enabled tenant has one of these buckets",
                "nothing is invalidated there",
            )),
            _ => found.add(Finding::note(
                "multi-tenant",
                &subject,
                format!("it serves {tenants} tenants"),
                "each path is ordered, and paid for, once for each tenant",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::find::testing::{rules, site, with, with_setting};

    #[test]
    fn tenants_are_noted_or_found_left_out() {
        for (mode, ids, expected) in [
            ("direct", "", &[][..]),
            ("tenant-only", "", &["no-tenants"]),
            ("tenant-only", "E1", &["tenants-left-out"]),
            ("tenant-only", "E1,dt_1a", &["no-tenants"]),
        ] {
            let mut facts = with(site(json!({ "ConnectionMode": mode })));
            with_setting(&mut facts, "DISTRIBUTION_IDS", ids);
            assert_eq!(rules(&facts, find), expected, "{mode} {ids}");
        }
    }
}
