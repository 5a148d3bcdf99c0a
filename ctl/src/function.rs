//! The function's settings, as far as a plan depends on them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context, Result};
use invalidator::aws::error::error_of;
use invalidator::config::Config;
use invalidator::mode::read_mode;
use invalidator::state;
use invalidator_core::cost::account::Account as Spent;
use invalidator_core::cost::collapse::CostRules;
use invalidator_core::cost::ledger::{LEDGER_KEY, Ledger};
use invalidator_core::cost::month::Month;
use invalidator_core::distributions::listing::DistributionSummary;
use invalidator_core::distributions::origin::{OriginBuckets, OriginDomain};
use invalidator_core::event::BucketName;
use invalidator_core::mode::Mode;
use invalidator_core::plan::SetLimits;
use invalidator_core::state::Reading;
use invalidator_core::target::{DistributionId, TenantId};
use time::OffsetDateTime;

use crate::account::Account;
use crate::stack::Stack;

/// What is known about the function.
#[derive(Debug)]
pub struct Function {
    pub limits: SetLimits,
    pub debounce: Duration,
    pub min_wildcard_depth: usize,
    /// How often wildcards that names need go to a target, for a bucket.
    pub wildcard_interval: Duration,
    pub cost: CostRules,
    pub origin_buckets: OriginBuckets,
    /// The only distributions to touch; none for all.
    pub only: BTreeSet<DistributionId>,
    pub only_tenants: Option<BTreeSet<TenantId>>,
    /// What the account has ordered.
    pub spent: Spent,
    /// Where it logs.
    pub log_group: Option<String>,
    /// What is not known, or keeps it from invalidating anything.
    pub notes: Vec<String>,
}

impl Function {
    /// The defaults.
    pub fn unknown(spent: Spent) -> Self {
        Self {
            limits: SetLimits::with_paths(3_000),
            debounce: Duration::from_secs(10),
            min_wildcard_depth: 0,
            wildcard_interval: Duration::from_secs(300),
            cost: CostRules::default(),
            origin_buckets: OriginBuckets::default(),
            only: BTreeSet::new(),
            only_tenants: None,
            spent,
            log_group: None,
            notes: vec![
                "the settings of the function are not known: the defaults are taken (a debounce of 10 s, all \
                 distributions, no OriginBuckets)"
                    .to_owned(),
            ],
        }
    }

    /// Reads the settings of a stack's function, its mode, and what was ordered. What cannot be read is noted.
    pub async fn read(account: &Account, stack: Option<&Stack>) -> Self {
        let now = OffsetDateTime::now_utc();
        let nothing = Spent {
            elapsed: Month::elapsed(now),
            ..Spent::default()
        };
        let mut function = Self::unknown(nothing);
        let Some(stack) = stack else {
            return function;
        };
        function.log_group = stack.output("LogGroupName").ok().map(str::to_owned);
        if let Err(error) = function.take_settings(account, stack).await {
            function.notes.push(format!("{error:#}"));
        }
        let s3 = account.clients.s3();
        match state::read::<Ledger>(s3, &stack.error_bucket, LEDGER_KEY).await {
            Ok(Reading::Found(ledger, _)) => {
                function.spent = Spent::at(now, &ledger.spending(now), function.cost.budget);
            }
            Ok(_) => function.notes.push(
                "there is no ledger that tells how many paths the account has ordered this month: none are taken"
                    .to_owned(),
            ),
            Err(error) => function.notes.push(format!(
                "how many paths the account has ordered this month is not known: {error:#}"
            )),
        }
        match read_mode(s3, &stack.error_bucket).await {
            Ok(Some(chosen)) if chosen.mode != Mode::Live => {
                function.notes.push(format!("the mode is {chosen}"));
            }
            Ok(None) if stack.initial_mode.is_some_and(|mode| mode != Mode::Live) => {
                function
                    .notes
                    .push("the stack is in a dry run since its deployment".to_owned());
            }
            Ok(_) => {}
            Err(error) => function
                .notes
                .push(format!("the mode is not known: {error:#}")),
        }
        function
    }

    /// Reads only the settings.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn read_settings(account: &Account, stack: &Stack) -> Result<Self> {
        let mut function = Self::unknown(Spent::default());
        function.take_settings(account, stack).await?;
        Ok(function)
    }

    async fn take_settings(&mut self, account: &Account, stack: &Stack) -> Result<()> {
        let config = configuration(account, stack).await?;
        self.notes.clear();
        self.limits = SetLimits::with_paths(config.max_paths_per_invalidation);
        self.debounce = config.debounce;
        self.min_wildcard_depth = config.min_wildcard_depth;
        self.cost = config.cost;
        self.origin_buckets = config.origin_buckets;
        self.only = config.distribution_ids;
        self.only_tenants = config.tenant_ids;
        Ok(())
    }

    /// The buckets that are origins of distributions, as far as their domains tell.
    pub fn buckets_of<'a>(
        &self,
        summaries: impl IntoIterator<Item = &'a DistributionSummary>,
    ) -> Vec<BucketName> {
        let origins = summaries.into_iter().flat_map(|it| &it.origins.items);
        let domains = origins.map(|origin| OriginDomain::new(&origin.domain_name));
        let buckets = domains.filter_map(|domain| domain.bucket(&self.origin_buckets));
        let mut buckets: Vec<BucketName> = buckets.map(BucketName::new).collect();
        buckets.sort();
        buckets.dedup();
        buckets
    }

    /// Whether the settings allow it to touch a distribution.
    pub fn may_touch(&self, id: &DistributionId) -> bool {
        self.only.is_empty() || self.only.contains(id)
    }
}

/// The settings of the stack's function, read as the function itself reads them.
///
/// # Errors
/// If they cannot be read, or the function could not start with them.
pub async fn configuration(account: &Account, stack: &Stack) -> Result<Config> {
    let name = stack.output("FunctionName")?;
    let client = aws_sdk_lambda::Client::new(&account.sdk);
    let answer = client.get_function_configuration().function_name(name);
    let answer = answer.send().await;
    let answer = answer.map_err(|error| error_of("Lambda GetFunctionConfiguration", &error))?;
    let variables = answer.environment.and_then(|it| it.variables);
    let mut variables: HashMap<String, String> = variables.unwrap_or_default();
    // Lambda sets these.
    variables.insert("AWS_LAMBDA_FUNCTION_NAME".to_owned(), name.to_owned());
    Config::from_variables(|name| variables.get(name).cloned())
        .context("the settings of the function cannot be used")
}
