//! CloudFront's API as a state machine: a request and the time in, a reply out.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use super::faults::{Fault, Faults, Injection};
use super::model::{CachePolicy, Distribution, Tenant};
use super::page::{self, Page};
use super::rate::Rates;
use super::route::{Operation, Request, Route, VERSION};
use super::rules::{self, Batch, InProgressLimit, Refusal};
use super::xml::Element;

/// CloudFront's times have milliseconds.
const TIMESTAMP: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What becomes of a request.
#[derive(Debug)]
pub struct Reply {
    /// How long it takes.
    pub delay: Duration,
    /// How it ends.
    pub delivery: Delivery,
}

/// How a request ends.
#[derive(Debug)]
pub enum Delivery {
    /// With an answer.
    Answer(Answer),
    /// Never.
    Hang,
    /// In the middle of the answer.
    BreakOff,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers beside the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// XML.
    pub body: String,
}

impl Answer {
    fn ok(root: &Element) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: root.document(),
        }
    }

    fn refused(refusal: &Refusal, request_id: &str) -> Self {
        let blame = if refusal.status < 500 {
            "Sender"
        } else {
            "Receiver"
        };
        let error = Element::new("Error")
            .text("Type", blame)
            .text("Code", &refusal.code)
            .text("Message", &refusal.message);
        let root = Element::new("ErrorResponse")
            .with(error)
            .text("RequestId", request_id);
        Self {
            status: refusal.status,
            headers: Vec::new(),
            body: root.document(),
        }
    }

    fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// When, since the start.
    #[serde(skip)]
    pub at: Duration,
    /// What was asked.
    pub operation: Operation,
    /// Of which distribution, tenant or cache policy.
    pub target: Option<String>,
    /// How many paths it held, if it was an invalidation that could be read.
    pub paths: usize,
    /// The answer's status, unless there was none.
    pub status: Option<u16>,
    /// The error code, if it was an error.
    pub code: Option<String>,
    /// What exactly was wrong, which CloudFront does not say.
    pub detail: Option<String>,
}

/// An invalidation that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invalidation {
    /// Its id.
    pub id: String,
    /// The caller's name for it.
    pub caller_reference: String,
    /// Its paths as they came.
    pub paths: Vec<String>,
    /// Where it is.
    pub status: Status,
    /// When it was accepted, since the start; zero if that was before the start.
    #[serde(skip)]
    pub created: Duration,
    /// The same by the calendar.
    #[serde(skip)]
    pub create_time: OffsetDateTime,
}

/// Where an invalidation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Status {
    /// Not everywhere yet.
    InProgress,
    /// Everywhere.
    Completed,
}

/// Everything the stand-in knows.
pub struct Service {
    epoch: OffsetDateTime,
    distributions: Vec<(Distribution, u32)>,
    tenants: Vec<Tenant>,
    cache_policies: Vec<CachePolicy>,
    invalidations: HashMap<String, Vec<Invalidation>>,
    /// The ids of all that was ever there.
    ids: BTreeSet<String>,
    count: u64,
    /// Faults to come.
    pub faults: Faults,
    /// Rates of invalidation calls.
    pub rates: Rates,
    /// What a distribution may have in progress.
    pub in_progress_limit: Option<InProgressLimit>,
    /// How long an invalidation is in progress.
    pub completes_after: Duration,
    /// How long an invalidation is known.
    pub known_for: Option<Duration>,
    /// How long an answer takes.
    pub latency: Duration,
    /// All calls so far.
    pub calls: Vec<Call>,
}

impl Service {
    /// An account with nothing in it but the managed cache policies. The clock starts at `epoch`.
    pub fn new(epoch: OffsetDateTime) -> Self {
        Self {
            epoch,
            distributions: Vec::new(),
            tenants: Vec::new(),
            cache_policies: CachePolicy::managed().to_vec(),
            invalidations: HashMap::new(),
            ids: CachePolicy::managed().map(|policy| policy.id).into(),
            count: 0,
            faults: Faults::default(),
            rates: Rates::default(),
            in_progress_limit: None,
            completes_after: Duration::ZERO,
            known_for: None,
            latency: Duration::ZERO,
            calls: Vec::new(),
        }
    }

    /// Adds or replaces.
    ///
    /// # Panics
    /// A behavior goes to an origin that is not there.
    pub fn put_distribution(&mut self, distribution: Distribution) {
        assert_eq!(distribution.check(), Ok(()));
        self.ids.insert(distribution.id.clone());
        let mut known = self.distributions.iter_mut();
        match known.find(|(known, _)| known.id == distribution.id) {
            Some((known, version)) => {
                *known = distribution;
                *version += 1;
            }
            None => self.distributions.push((distribution, 1)),
        }
    }

    /// Removes.
    pub fn remove_distribution(&mut self, id: &str) {
        self.distributions.retain(|(known, _)| known.id != id);
    }

    /// Adds or replaces.
    pub fn put_cache_policy(&mut self, policy: CachePolicy) {
        self.ids.insert(policy.id.clone());
        self.cache_policies.retain(|known| known.id != policy.id);
        self.cache_policies.push(policy);
    }

    /// Adds or replaces.
    ///
    /// # Panics
    /// The distribution is no multi-tenant distribution, or the id is none of a tenant.
    pub fn put_tenant(
        &mut self,
        distribution: &str,
        id: &str,
        enabled: bool,
        parameters: Vec<(String, String)>,
    ) {
        assert!(
            self.is_tenant_only(distribution),
            "{distribution} is no multi-tenant distribution"
        );
        assert!(rules::is_tenant_id(id), "{id:?} is no id of a tenant");
        self.ids.insert(id.to_owned());
        self.tenants.retain(|known| known.id != id);
        self.tenants.push(Tenant {
            id: id.to_owned(),
            distribution: distribution.to_owned(),
            enabled,
            parameters,
        });
    }

    /// Whether it is a multi-tenant distribution.
    pub fn is_tenant_only(&self, distribution: &str) -> bool {
        self.distribution(distribution)
            .is_ok_and(|(it, _)| it.is_tenant_only())
    }

    /// Whether there is, or once was, a distribution, tenant or cache policy of this id.
    pub fn knows(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Lets calls fail.
    ///
    /// # Errors
    /// It is for a target that the account never had, so it would strike no call.
    pub fn fail(&mut self, injection: Injection) -> Result<(), String> {
        match injection.target() {
            Some(id) if !self.knows(id) => Err(format!("{id} was never in this account")),
            _ => {
                self.faults.add(injection);
                Ok(())
            }
        }
    }

    /// What a distribution or tenant accepted, oldest first.
    ///
    /// # Panics
    /// The account never had it: a test that expects nothing of it would pass whatever happens.
    pub fn invalidations(&self, target: &str, now: Duration) -> Vec<Invalidation> {
        assert!(self.knows(target), "{target} was never in this account");
        let accepted = self.invalidations.get(target).into_iter().flatten();
        accepted
            .map(|it| Invalidation {
                status: self.status(it, now),
                ..it.clone()
            })
            .collect()
    }

    /// What time it is, so long after the start.
    pub fn time(&self, now: Duration) -> OffsetDateTime {
        self.epoch + now
    }

    /// Adds an invalidation that was accepted at this time, which may be before the start.
    ///
    /// # Panics
    /// The account never had this distribution or tenant.
    pub fn put_invalidation(
        &mut self,
        target: &str,
        create_time: OffsetDateTime,
        caller_reference: &str,
        paths: Vec<String>,
    ) -> String {
        assert!(self.knows(target), "{target} was never in this account");
        let created = Duration::try_from(create_time - self.epoch).unwrap_or_default();
        let invalidation = self.invalidation(created, caller_reference.to_owned(), paths);
        let accepted = self.invalidations.entry(target.to_owned()).or_default();
        let place = accepted.partition_point(|it| it.create_time <= create_time);
        let id = invalidation.id.clone();
        let invalidation = Invalidation {
            create_time,
            ..invalidation
        };
        accepted.insert(place, invalidation);
        id
    }

    /// Answers a request, and records that it did.
    pub fn handle(&mut self, request: &Request<'_>, now: Duration) -> Reply {
        let route = Route::of(request);
        let (ending, late) = self.ending(request, &route, now);
        self.record(request, &route, &ending, now);
        let request_id = format!("00000000-0000-4000-8000-{:012}", self.calls.len());
        let delivery = match ending {
            Ending::Result(result) => {
                let answer = result.unwrap_or_else(|it| Answer::refused(&it, &request_id));
                Delivery::Answer(answer.header("x-amzn-RequestId", request_id))
            }
            Ending::Hang => Delivery::Hang,
            Ending::BreakOff => Delivery::BreakOff,
        };
        Reply {
            delay: self.latency + late,
            delivery,
        }
    }

    /// How the request ends, and how much later than usual.
    fn ending(
        &mut self,
        request: &Request<'_>,
        route: &Route,
        now: Duration,
    ) -> (Ending, Duration) {
        if let Err(refusal) = rules::check_authorization(request.authorization) {
            return (Ending::Result(Err(refusal)), Duration::ZERO);
        }
        let strike = self.faults.strike(route.operation, route.target.as_deref());
        let Some((fault, after_effect)) = strike else {
            let result = self.perform(request, route, now);
            return (Ending::Result(result), Duration::ZERO);
        };
        if let Fault::Late(by) = fault {
            return (Ending::Result(self.perform(request, route, now)), by);
        }
        if after_effect && let Err(refusal) = self.perform(request, route, now) {
            return (Ending::Result(Err(refusal)), Duration::ZERO);
        }
        let ending = match fault.refusal(route.operation) {
            Some(refusal) => Ending::Result(Err(refusal)),
            None if fault == Fault::BreakOff => Ending::BreakOff,
            None => Ending::Hang,
        };
        (ending, Duration::ZERO)
    }

    fn record(&mut self, request: &Request<'_>, route: &Route, ending: &Ending, now: Duration) {
        let (status, refusal) = match ending {
            Ending::Result(Ok(answer)) => (Some(answer.status), None),
            Ending::Result(Err(refusal)) => (Some(refusal.status), Some(refusal)),
            Ending::Hang | Ending::BreakOff => (None, None),
        };
        let batch = match route.operation {
            Operation::CreateInvalidation | Operation::CreateInvalidationForDistributionTenant => {
                Batch::read(request.body).ok()
            }
            _ => None,
        };
        self.calls.push(Call {
            at: now,
            operation: route.operation,
            target: route.target.clone(),
            paths: batch.map_or(0, |batch| batch.paths.len()),
            status,
            code: refusal.map(|refusal| refusal.code.clone()),
            detail: refusal.and_then(|refusal| refusal.detail.clone()),
        });
    }

    fn perform(
        &mut self,
        request: &Request<'_>,
        route: &Route,
        now: Duration,
    ) -> Result<Answer, Refusal> {
        use Operation as O;
        let is_read = !matches!(
            route.operation,
            O::CreateInvalidation | O::CreateInvalidationForDistributionTenant
        );
        if is_read && !self.rates.allow_read(now) {
            return Err(rules::throttling());
        }
        let target = route.target.as_deref().unwrap_or_default();
        let invalidation = route.invalidation.as_deref().unwrap_or_default();
        match route.operation {
            O::ListDistributions => self.list_distributions(request),
            O::GetDistributionConfig => self.get_distribution_config(target),
            O::ListCachePolicies => self.list_cache_policies(request),
            O::GetCachePolicy => self.get_cache_policy(target),
            O::ListDistributionTenants => self.list_tenants(request),
            O::GetDistributionTenant => self.get_tenant(target),
            O::CreateInvalidation => {
                let (distribution, _) = self.distribution(target)?;
                if distribution.is_tenant_only() {
                    return Err(rules::invalid_argument(
                        "The specified distribution is a multi-tenant distribution.",
                    ));
                }
                self.create_invalidation("distribution", target, request, now)
            }
            O::ListInvalidations => {
                self.distribution(target)?;
                self.list_invalidations(target, request, now)
            }
            O::GetInvalidation => {
                self.distribution(target)?;
                self.get_invalidation(target, invalidation, now)
            }
            O::CreateInvalidationForDistributionTenant => {
                self.tenant(target)?;
                self.create_invalidation("distribution-tenant", target, request, now)
            }
            O::ListInvalidationsForDistributionTenant => {
                self.tenant(target)?;
                self.list_invalidations(target, request, now)
            }
            O::GetInvalidationForDistributionTenant => {
                self.tenant(target)?;
                self.get_invalidation(target, invalidation, now)
            }
            O::Unknown => Err(Refusal::new(
                404,
                "UnknownOperation",
                format!("No operation {} {}", request.method, request.path),
            )),
        }
    }

    fn list_distributions(&self, request: &Request<'_>) -> Result<Answer, Refusal> {
        let page = Page::of(
            &self.distributions,
            |(known, _)| &known.id,
            request.parameter("Marker").as_deref(),
            request.parameter("MaxItems").as_deref(),
        )?;
        let items = page.items.iter();
        let items = items.map(|(known, version)| known.summary(&etag(*version)));
        Ok(Answer::ok(&page.list("DistributionList", items.collect())))
    }

    fn get_distribution_config(&self, id: &str) -> Result<Answer, Refusal> {
        let (distribution, version) = self.distribution(id)?;
        Ok(Answer::ok(&distribution.config()).header("ETag", etag(*version)))
    }

    fn list_cache_policies(&self, request: &Request<'_>) -> Result<Answer, Refusal> {
        let kind = request.parameter("Type");
        let policies = self.cache_policies.iter();
        let policies =
            policies.filter(|policy| kind.as_deref().is_none_or(|kind| kind == policy.kind()));
        let policies: Vec<_> = policies.collect();
        let page = Page::of(
            &policies,
            |policy| &policy.id,
            request.parameter("Marker").as_deref(),
            request.parameter("MaxItems").as_deref(),
        )?;
        let summaries = page.items.iter().map(|policy| {
            Element::new("CachePolicySummary")
                .text("Type", policy.kind())
                .with(policy.xml())
        });
        // Unlike other lists it has no IsTruncated.
        let list = Element::new("CachePolicyList")
            .maybe("NextMarker", page.next_marker.as_ref())
            .text("MaxItems", page::LIMIT);
        Ok(Answer::ok(&list.quantity(summaries.collect())))
    }

    fn get_cache_policy(&self, id: &str) -> Result<Answer, Refusal> {
        let mut policies = self.cache_policies.iter();
        let policy = policies.find(|policy| policy.id == id).ok_or_else(|| {
            Refusal::new(404, "NoSuchCachePolicy", "The cache policy does not exist.")
        })?;
        Ok(Answer::ok(&policy.xml()).header("ETag", etag(1)))
    }

    fn list_tenants(&self, request: &Request<'_>) -> Result<Answer, Refusal> {
        let filter = match request.body {
            // As some SDKs ask for all.
            [] => Element::default(),
            body => Element::read(body)?,
        };
        let distribution = filter
            .child("AssociationFilter")
            .and_then(|association| association.child_text("DistributionId"));
        if let Some(id) = distribution {
            self.distribution(id)
                .map_err(|_| rules::entity_not_found())?;
        }
        let tenants = self.tenants.iter();
        let tenants: Vec<_> = tenants
            .filter(|tenant| distribution.is_none_or(|id| id == tenant.distribution))
            .collect();
        let page = Page::of(
            &tenants,
            |tenant| &tenant.id,
            filter.child_text("Marker"),
            filter.child_text("MaxItems"),
        )?;
        let items = page.items.iter();
        let items = items.map(|tenant| tenant.xml("DistributionTenantSummary"));
        let root = Element::new("ListDistributionTenantsResult")
            .maybe("NextMarker", page.next_marker)
            .with(Element::new("DistributionTenantList").with_all(items));
        Ok(Answer::ok(&root))
    }

    /// This call takes the tenant's name too.
    fn get_tenant(&self, id_or_name: &str) -> Result<Answer, Refusal> {
        let named = self.tenants.iter().find(|it| it.name() == id_or_name);
        let tenant = named.map_or_else(|| self.tenant(id_or_name), Ok)?;
        Ok(Answer::ok(&tenant.config_xml()).header("ETag", etag(1)))
    }

    fn create_invalidation(
        &mut self,
        kind: &str,
        target: &str,
        request: &Request<'_>,
        now: Duration,
    ) -> Result<Answer, Refusal> {
        let batch = Batch::read(request.body)?;
        let wildcards = batch.paths.iter().filter(|path| rules::is_wildcard(path));
        let wildcards = wildcards.count();
        if !self
            .rates
            .allow(batch.paths.len() - wildcards, wildcards, now)
        {
            return Err(rules::throttling());
        }
        batch.check()?;
        let invalidation = match self.earlier(target, &batch)? {
            Some(earlier) => earlier.clone(),
            None => self.accept(target, batch, now)?,
        };
        let location = format!(
            "https://cloudfront.amazonaws.com/{VERSION}/{kind}/{target}/invalidation/{}",
            invalidation.id
        );
        let mut answer = Answer::ok(&self.invalidation_xml(&invalidation));
        answer.status = 201;
        Ok(answer.header("Location", location))
    }

    /// The invalidation of the same caller reference, if there is one. CloudFront says that "the
    /// content of any Path" must be the same; the stand-in wants the same order too.
    fn earlier(&self, target: &str, batch: &Batch) -> Result<Option<&Invalidation>, Refusal> {
        let mut accepted = self.invalidations.get(target).into_iter().flatten();
        match accepted.find(|it| it.caller_reference == batch.caller_reference) {
            Some(earlier) if earlier.paths != batch.paths => Err(rules::already_exists()),
            earlier => Ok(earlier),
        }
    }

    fn accept(
        &mut self,
        target: &str,
        batch: Batch,
        now: Duration,
    ) -> Result<Invalidation, Refusal> {
        if let Some(limit) = self.in_progress_limit {
            let accepted = self.invalidations.get(target).into_iter().flatten();
            let in_progress = accepted
                .filter(|it| self.status(it, now) == Status::InProgress)
                .flat_map(|it| it.paths.iter().map(String::as_str));
            batch.check_progress(in_progress, limit)?;
        }
        let invalidation = self.invalidation(now, batch.caller_reference, batch.paths);
        let accepted = self.invalidations.entry(target.to_owned()).or_default();
        accepted.push(invalidation.clone());
        Ok(invalidation)
    }

    fn invalidation(
        &mut self,
        created: Duration,
        caller_reference: String,
        paths: Vec<String>,
    ) -> Invalidation {
        self.count += 1;
        Invalidation {
            id: format!("I{:013}", self.count),
            caller_reference,
            paths,
            status: Status::InProgress,
            created,
            create_time: self.epoch + created,
        }
    }

    /// What CloudFront still knows of a target's invalidations, oldest first.
    fn known_invalidations(&self, target: &str, now: Duration) -> Vec<Invalidation> {
        let mut known = self.invalidations(target, now);
        if let Some(known_for) = self.known_for {
            known.retain(|it| it.create_time + known_for > self.epoch + now);
        }
        known
    }

    fn list_invalidations(
        &self,
        target: &str,
        request: &Request<'_>,
        now: Duration,
    ) -> Result<Answer, Refusal> {
        let mut accepted = self.known_invalidations(target, now);
        accepted.reverse();
        let page = Page::of(
            &accepted,
            |it| &it.id,
            request.parameter("Marker").as_deref(),
            request.parameter("MaxItems").as_deref(),
        )?;
        let items = page.items.iter().map(|it| {
            Element::new("InvalidationSummary")
                .text("Id", &it.id)
                .text("CreateTime", time(it.create_time))
                .text("Status", it.status.name())
        });
        Ok(Answer::ok(&page.list("InvalidationList", items.collect())))
    }

    fn get_invalidation(&self, target: &str, id: &str, now: Duration) -> Result<Answer, Refusal> {
        let accepted = self.known_invalidations(target, now);
        let invalidation = accepted.iter().find(|it| it.id == id).ok_or_else(|| {
            Refusal::new(
                404,
                "NoSuchInvalidation",
                "The specified invalidation does not exist.",
            )
        })?;
        Ok(Answer::ok(&self.invalidation_xml(invalidation)))
    }

    fn invalidation_xml(&self, invalidation: &Invalidation) -> Element {
        Element::new("Invalidation")
            .text("Id", &invalidation.id)
            .text("Status", invalidation.status.name())
            .text("CreateTime", time(invalidation.create_time))
            .with(
                Element::new("InvalidationBatch")
                    .with(Element::text_list("Paths", "Path", &invalidation.paths))
                    .text("CallerReference", &invalidation.caller_reference),
            )
    }

    fn status(&self, invalidation: &Invalidation, now: Duration) -> Status {
        let created = invalidation.create_time - self.epoch;
        // An account may never complete any, and be asked at the end of time.
        let now = time::Duration::try_from(now).unwrap_or(time::Duration::MAX);
        if now.saturating_sub(created) < self.completes_after {
            Status::InProgress
        } else {
            Status::Completed
        }
    }

    fn distribution(&self, id: &str) -> Result<&(Distribution, u32), Refusal> {
        let mut known = self.distributions.iter();
        known
            .find(|(known, _)| known.id == id)
            .ok_or_else(rules::no_such_distribution)
    }

    fn tenant(&self, id: &str) -> Result<&Tenant, Refusal> {
        let mut known = self.tenants.iter();
        known
            .find(|known| known.id == id)
            .ok_or_else(rules::entity_not_found)
    }
}

/// How a request ends, before it is put into an answer.
enum Ending {
    Result(Result<Answer, Refusal>),
    Hang,
    BreakOff,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Completed => "Completed",
        }
    }
}

fn time(time: OffsetDateTime) -> String {
    time.format(TIMESTAMP).unwrap_or_default()
}

fn etag(version: u32) -> String {
    format!("E{version:013}")
}
