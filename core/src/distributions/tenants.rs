//! Tenants of a multi-tenant distribution, which serves nothing itself.
//!
//! The domains and paths of its origins may contain placeholders, `/{{customer}}`, that each tenant
//! fills with its own parameters (Developer Guide, "Understand how multi-tenant distributions
//! work").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::target::TenantId;

/// An enabled tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its values for placeholders.
    pub parameters: Parameters,
}

/// Values for placeholders, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Takes names and values.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// Both sets of values; where a name is in both, `other` wins.
    pub fn overridden_by(&self, other: Self) -> Self {
        let mut all = self.0.clone();
        all.extend(other.0);
        Self(all)
    }

    /// Fills the placeholders of a text. A placeholder without a value stays.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(values: &[(&str, &str)]) -> Parameters {
        Parameters::new(
            values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn placeholders_are_filled_and_others_stay() {
        let parameters = parameters(&[("customer", "acme"), ("region", "eu-west-1")]);
        for (text, expected) in [
            ("/{{customer}}", "/acme"),
            ("/{{customer}}/{{customer}}", "/acme/acme"),
            (
                "site.s3.{{region}}.amazonaws.com",
                "site.s3.eu-west-1.amazonaws.com",
            ),
            ("/{{other}}", "/{{other}}"),
            ("/plain", "/plain"),
        ] {
            assert_eq!(parameters.fill(text), expected);
        }
    }

    #[test]
    fn a_tenants_own_value_goes_before_the_default() {
        let defaults = parameters(&[("a", "1"), ("b", "2")]);
        let own = parameters(&[("b", "3")]);
        assert_eq!(
            defaults.overridden_by(own),
            parameters(&[("a", "1"), ("b", "3")])
        );
    }
}
