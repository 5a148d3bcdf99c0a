//! What a flush does in order to pay less: it looks whether uploads changed anything, collapses paths into
//! wildcards, and keeps to the spending limits. The decisions are those of [`invalidator_core::cost`]; here the
//! facts for them are read.
//!
//! Whatever cannot be read, or not in time, means an exact path, unless that is the ledger: then the cheapest cover is
//! used in the mode `balanced`. So no path is missing because a call failed.
//!
//! * [`cover`]: lists what else is below a folder
//! * [`skip`]: looks whether uploads changed anything
//! * [`trust`]: which targets are known to have seen every change

mod cover;
mod skip;
mod trust;

use std::collections::BTreeMap;
use std::time::Duration;

use invalidator_core::cost::account::Account;
use invalidator_core::cost::bars::barring;
use invalidator_core::cost::cover::{Cover, cheapest_cover};
use invalidator_core::cost::folders::Folders;
use invalidator_core::cost::ledger::{LARGEST_LEASE, Ledger};
use invalidator_core::cost::limits::Limits;
use invalidator_core::cost::order::{Held, Order, TargetOrder, new_wildcards};
use invalidator_core::cost::price::FREE_PATHS;
use invalidator_core::event::BucketName;
use invalidator_core::mode::Mode;
use invalidator_core::pause::Pauses;
use invalidator_core::plan::{NewWildcard, Plan};
use invalidator_core::target::{Target, TenantId};
use tokio::time::Instant;
use tracing::{info, warn};

use super::report::{FlushCounts, Report, Spent};
use crate::app::App;
use crate::metrics::MAX_LOGGED_WILDCARDS;
use cover::Looks;

/// How long looking may take at least, and how much longer for each key: it should not make a change late.
const TIME_TO_LOOK: Duration = Duration::from_secs(3);
const KEYS_PER_SECOND: u32 = 150;

/// For a flush of so many paths the ledger may be a minute old, as long as no limit is near. Else it is as old as the
/// round.
const FEW_PATHS: u64 = 10;

/// Of how many buckets a flush logs that their changes wait.
const MAX_LOGGED_BUCKETS: usize = 20;

/// What a flush goes by when it orders.
pub struct Means<'a> {
    pub app: &'a App,
    pub mode: Mode,
    pub pauses: &'a Pauses,
    /// When looking must stop.
    pub until: Instant,
}

/// Until when a flush may look before it pays, for so many keys, and in so much time.
pub fn look_until(keys: usize, time: Duration) -> Instant {
    let keys = u32::try_from(keys).unwrap_or(u32::MAX);
    let wanted = TIME_TO_LOOK + Duration::from_secs(1) / KEYS_PER_SECOND * keys;
    Instant::now() + wanted.min(time / 3)
}

impl Means<'_> {
    /// Decides what is ordered for the targets of a plan, and reserves these paths.
    pub async fn order<'p>(
        &self,
        plan: &'p Plan<'p>,
        is_meant: impl Fn(&Target) -> bool,
        report: &mut Report,
    ) -> Order<'p> {
        let counts = &mut report.counts;
        let mut skips = skip::look(self, plan, counts).await;
        let targets = plan.targets().filter(|it| is_meant(it.target));
        let targets = targets.map(|of_target| {
            let skipped = skips.skipped.remove(of_target.target).unwrap_or_default();
            TargetOrder::new(of_target, skipped)
        });
        let app = self.app;
        let targets: Vec<_> = targets.collect();
        let exact: u64 = targets.iter().map(TargetOrder::paths).sum();
        let ledger = self.ledger(exact).await;
        let account = ledger.as_ref().map(|ledger| self.account(ledger));
        let had = ledger
            .map(|ledger| self.had(&ledger, plan))
            .unwrap_or_default();
        let mut order = Order::new(targets, had);
        trust::ask(self, plan, &mut order, skips.terms).await;
        let rules = &app.config.cost;
        let least = account.is_none().then(|| self.without_ledger());
        order.decide(rules, account.as_ref(), least.as_ref());
        let mut looks = Looks::new(app, self.until);
        for (place, mut limits) in order.to_cover(rules) {
            limits.least_depth = app.config.min_wildcard_depth;
            let wildcards = self.cover(&order, place, &limits, &mut looks).await;
            counts.saved_collapsed += saturated(order.targets[place].add_wildcards(wildcards));
        }
        counts.look_ups += looks.calls;
        // A dry run orders nothing.
        if self.mode == Mode::Live {
            let held = order.admit(rules, account.as_ref().or(least.as_ref()));
            counts.held_back += saturated(held.iter().map(|it| it.paths).sum());
            self.warn(held);
        }
        // Near a limit, what is reserved in advance would be missing for others.
        let most = order.paths() + LARGEST_LEASE;
        let is_far = |account: &Account| {
            let reserved = Account {
                this_month: account.this_month + most,
                this_hour: account.this_hour + most,
                ..*account
            };
            rules.limits.half_spent(&reserved).is_none()
        };
        self.reserve(&order, account.as_ref().is_some_and(is_far))
            .await;
        let account = account.map(|before| Account {
            this_month: before.this_month + order.paths(),
            this_hour: before.this_hour + order.paths(),
            ..before
        });
        let spent = account.filter(|_| self.mode == Mode::Live);
        let spent = spent.map(|account| Spent {
            account,
            limits: rules.limits,
        });
        report.spent = spent.or(report.spent);
        order
    }

    /// The ledger, for a flush of so many paths. `None` if it cannot be read.
    async fn ledger(&self, paths: u64) -> Option<Ledger> {
        let app = self.app;
        if paths <= FEW_PATHS {
            let known = app.ledger.current(app.state()).await?;
            let limits = app.config.cost.limits;
            if limits.half_spent(&self.account(&known)).is_none() {
                return Some(known);
            }
        }
        app.ledger.read_lately(app.state()).await
    }

    fn account(&self, ledger: &Ledger) -> Account {
        let now = self.app.clock.now_utc();
        let budget = self.app.config.cost.budget;
        let account = Account::at(now, &ledger.spending(now), budget);
        let (unwritten, of_hour) = self.app.ledger.unwritten(now);
        Account {
            this_month: account.this_month + unwritten,
            this_hour: account.this_hour + of_hour,
            ..account
        }
    }

    /// What is known to be spent where the ledger cannot be read: what this environment has last read, and has ordered
    /// since.
    fn without_ledger(&self) -> Account {
        if let Some(known) = self.app.ledger.last_known() {
            return self.account(&known);
        }
        let (_, of_hour) = self.app.ledger.unwritten(self.app.clock.now_utc());
        Account {
            this_month: FREE_PATHS + of_hour,
            this_hour: of_hour,
            elapsed: 1.0,
            elapsed_of_hour: 1.0,
            ..Account::default()
        }
    }

    /// What each bucket of a plan has ordered in this hour.
    fn had(&self, ledger: &Ledger, plan: &Plan<'_>) -> BTreeMap<BucketName, u64> {
        let now = self.app.clock.now_utc();
        let of_hour = |bucket: &BucketName| self.app.ledger.of_hour(ledger, now, bucket);
        let buckets = plan.keys.buckets();
        buckets
            .map(|bucket| (bucket.clone(), of_hour(bucket)))
            .collect()
    }

    /// The cheapest cover of the paths of a target that are to be covered.
    async fn cover(
        &self,
        order: &Order<'_>,
        place: usize,
        limits: &Limits,
        looks: &mut Looks<'_>,
    ) -> Vec<NewWildcard> {
        let paths = order.paths_to_cover(place);
        let of_target = &order.targets[place].plan;
        let aliases = &self.app.config.origin_buckets;
        let mut folders = Folders::new(paths.iter().map(|it| &it.path));
        folders.bar(|folder| barring(of_target.distribution, aliases, folder).is_some());
        looks
            .look(of_target.distribution, &mut folders, limits)
            .await;
        let cover = cheapest_cover(&folders, limits);
        self.log(of_target.target, &cover);
        new_wildcards(&cover, &paths)
    }

    fn log(&self, target: &Target, cover: &Cover<'_>) {
        let distribution = &target.distribution;
        let alias = self.app.catalog.alias(distribution);
        let tenant = target.tenant.as_ref().map(TenantId::as_str);
        for wildcard in cover.wildcards.iter().take(MAX_LOGGED_WILDCARDS) {
            info!(stage = "flush", decision = "collapse", %distribution, %alias, tenant, reason = %wildcard, "decision");
        }
    }

    /// Reserves paths. They are ordered in any case: they fit into the limits as far as anybody knows.
    async fn reserve(&self, order: &Order<'_>, in_advance: bool) {
        let paths = order.paths();
        if paths == 0 || self.mode != Mode::Live {
            return;
        }
        let wants = order.wants();
        let reserved = self
            .app
            .ledger
            .reserve(self.app.state(), &wants, in_advance);
        if let Err(error) = reserved.await {
            let error = format!("{error:#}");
            warn!(
                stage = "flush",
                error, paths, "the ledger cannot be changed, so it counts too little until it can"
            );
        }
    }

    /// Logs the buckets whose changes wait, those of most paths first: there may be thousands.
    fn warn(&self, mut held: Vec<Held>) {
        held.sort_by_key(|it| std::cmp::Reverse(it.paths));
        for Held {
            bucket,
            reached,
            paths,
        } in held.iter().take(MAX_LOGGED_BUCKETS)
        {
            warn!(stage = "flush", %bucket, paths, reason = %reached, "changes wait: the spending limit is reached; nothing is lost; raise SpendingLimitPerHour or SpendingLimitPerMonth to go on at once");
        }
        let buckets = held.len().saturating_sub(MAX_LOGGED_BUCKETS);
        if buckets > 0 {
            warn!(stage = "flush", buckets, "changes of more buckets wait");
        }
    }
}

fn saturated(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
