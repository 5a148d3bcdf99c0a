//! Looks whether uploads changed anything that viewers get, in buckets that opted in. The rules are those of
//! [`invalidator_core::cost::skip`]; here S3 is asked.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::get_object_tagging::GetObjectTaggingOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::ReplicationStatus;
use futures_util::stream::{self, StreamExt};
use invalidator_core::cost::ledger::{Distrust, Ledger, Terms};
use invalidator_core::cost::skip::facts::{Head, Headers, Listed, ListedObject, Serving};
use invalidator_core::cost::skip::look_ups::{ListCall, LookUps, Page, look_ups};
use invalidator_core::cost::skip::{Candidate, Created, Decision, Finding, Gate, Paths, decide};
use invalidator_core::distributions::{Behavior, Distribution};
use invalidator_core::event::{BucketName, EventTime};
use invalidator_core::mode::Mode;
use invalidator_core::plan::{self, KeyIndex, KeySet, PathRole, Plan, PlannedPath, Verdict};
use invalidator_core::target::Target;
use invalidator_core::text::Shown;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::trust::{self, Facts};
use super::{FlushCounts, Means};
use crate::app::App;
use crate::aws::error::service_error;
use crate::metrics::milliseconds;

/// How many lists are asked for at once, and of how many versions at once the headers and tags.
const LISTS_AT_ONCE: usize = 8;
const VERSIONS_AT_ONCE: usize = 4;

/// What was found.
#[derive(Default)]
pub struct Skips {
    /// The keys of each target whose paths are left out.
    pub skipped: BTreeMap<Target, KeySet>,
    /// The terms of each target that may be trusted.
    pub terms: BTreeMap<Target, Terms>,
}

/// Looks at the keys of a plan, where that is worth it. What cannot be told in time is not skipped.
pub async fn look(means: &Means<'_>, plan: &Plan<'_>, counts: &mut FlushCounts) -> Skips {
    let mut skips = Skips::default();
    let app = means.app;
    if !app.config.look_before_paying || means.mode != Mode::Live {
        return skips;
    }
    let buckets: Vec<BucketName> = plan.keys.buckets().cloned().collect();
    let buckets = app
        .catalog
        .served(&buckets, &app.config.origin_buckets)
        .await;
    let settings = app
        .tags
        .settings_of(app.clients.s3(), &buckets, means.until)
        .await;
    // Where changes are held back, one that changed something may not have been invalidated yet.
    let is_paused = |it: &BucketName| means.pauses.concern(it);
    let opted_in =
        |it: &&BucketName| settings.get(*it).is_some_and(|it| it.only_changed) && !is_paused(it);
    let opted_in: Vec<BucketName> = buckets.iter().filter(opted_in).cloned().collect();
    if opted_in.is_empty() {
        return skips;
    }
    let Some(gates) = Gates::read(means, plan, opted_in, &mut counts.look_ups).await else {
        return skips;
    };
    skips.terms.clone_from(&gates.terms);
    for bucket in gates.open_buckets() {
        let now = milliseconds(app.clock.now()) / 1_000;
        if !app.worth.is_worth_looking(&bucket, now) {
            continue;
        }
        let candidates = gates.candidates(plan, &bucket);
        let looks = candidates.len();
        let found = look_up(means, &bucket, &candidates, &mut counts.look_ups).await;
        let mut saved = 0;
        for (key, finding) in found {
            for (target, decision) in gates.decide(plan, key, finding) {
                let Decision::Skip { because, paths } = &decision else {
                    continue;
                };
                saved += paths;
                match because {
                    Finding::Unchanged { .. } => counts.saved_unchanged += paths,
                    Finding::FirstUpload => counts.saved_first_upload += paths,
                }
                if app.decisions.may_log(app.clock.now()) {
                    let (name, distribution) = (plan.keys.get(key), &target.distribution);
                    info!(stage = "flush", decision = "skip", bucket = %Shown(&bucket), key = %Shown(name.name()), kind = %name.kind, %distribution, alias = %app.catalog.alias(distribution), reason = %decision, "decision");
                }
                skips.skipped.entry(target).or_default().insert(key);
            }
        }
        app.worth.note(&bucket, now, looks, saved);
    }
    skips
}

/// The ledger, after targets that are not listed have lost their trust: the stack may have left them out for a
/// time. `None` if that cannot be noted.
async fn without_unlisted(app: &App, ledger: Ledger) -> Option<Ledger> {
    let listed = app.catalog.listed_ids().await;
    let now = app.clock.now_utc();
    if !ledger.clone().distrust_unlisted(now, &listed) {
        return Some(ledger);
    }
    let changed = app.ledger.distrust_unlisted(app.state(), &listed).await;
    if let Err(error) = &changed {
        let error = format!("{error:#}");
        warn!(
            stage = "flush",
            error, "the ledger cannot be changed, so nothing is skipped"
        );
    }
    changed.ok()
}

/// What decides whether keys may be skipped at a target.
struct Gates<'p> {
    app: &'p App,
    facts: Facts,
    ledger: Ledger,
    terms: BTreeMap<Target, Terms>,
    /// The distributions that serve a bucket that opted in.
    distributions: Vec<&'p Distribution>,
}

impl<'p> Gates<'p> {
    /// Reads the facts about targets and buckets. None if the ledger cannot be read.
    async fn read(
        means: &Means<'p>,
        plan: &'p Plan<'p>,
        opted_in: Vec<BucketName>,
        calls: &mut usize,
    ) -> Option<Self> {
        let app = means.app;
        let aliases = &app.config.origin_buckets;
        let mut distributions: Vec<&Distribution> = Vec::new();
        for of_target in plan.targets() {
            let it = of_target.distribution;
            let serves =
                |bucket: &BucketName| it.origins_of(bucket.as_str(), aliases).next().is_some();
            let is_new = distributions.last().is_none_or(|last| last.id != it.id);
            if is_new && opted_in.iter().any(serves) {
                distributions.push(it);
            }
        }
        let behind = distributions
            .iter()
            .filter_map(|it| trust::buckets_behind(app, it));
        let mut behind: Vec<BucketName> = behind.flatten().collect();
        behind.sort();
        behind.dedup();
        let settings = app
            .tags
            .settings_of(app.clients.s3(), &behind, means.until)
            .await;
        let is_opted_in = |it: &&BucketName| settings.get(*it).is_some_and(|it| it.only_changed);
        let all_opted_in = behind.iter().filter(is_opted_in).cloned().collect();
        let (facts, ledger) = tokio::join!(
            trust::facts(app, all_opted_in, means.until, calls),
            app.ledger.read(app.state())
        );
        let ledger = without_unlisted(app, ledger?).await?;
        let terms = distributions.iter().filter_map(|it| {
            let target = it.targets.first()?.clone();
            Some((target, trust::terms(app, it, &settings, &facts)?))
        });
        Some(Self {
            app,
            terms: terms.collect(),
            facts,
            ledger,
            distributions,
        })
    }

    /// Which rules may be used for keys of a bucket that this behavior serves.
    fn gate(
        &self,
        distribution: &Distribution,
        behavior: &Behavior,
        bucket: &BucketName,
    ) -> Option<Gate> {
        let app = self.app;
        let target = distribution.targets.first()?;
        let trust = match self.terms.get(target) {
            Some(terms) => self.ledger.trusts(target, bucket, terms),
            None => Err(Distrust::NeverAsked),
        };
        let mut origins = distribution.origins_of(bucket.as_str(), &app.config.origin_buckets);
        let is_website = origins.any(|(_, is_website)| is_website);
        let harmless = &app.config.harmless_functions;
        let serving = Serving::new(distribution, behavior, is_website, harmless);
        let facts = self.facts.get(bucket)?;
        Some(Gate::new(facts, &serving, trust, app.config.debounce))
    }

    /// The buckets in which looking may save anything.
    fn open_buckets(&self) -> Vec<BucketName> {
        let is_open = |bucket: &&BucketName| {
            self.distributions.iter().any(|it| {
                let mut gates = it.behaviors().filter_map(|of| self.gate(it, of, bucket));
                gates.any(|gate| gate.is_open())
            })
        };
        self.facts.keys().filter(is_open).cloned().collect()
    }

    /// The keys of a bucket that may be skipped, with what is known of them: in the order of S3.
    fn candidates<'k>(&self, plan: &'k Plan<'_>, bucket: &BucketName) -> Vec<Key<'k>> {
        let app = self.app;
        let now = EventTime(i64::try_from(milliseconds(app.clock.now())).unwrap_or(i64::MAX));
        let of_bucket = plan
            .keys
            .indices()
            .filter(|key| plan.keys.get(*key).bucket == bucket);
        let keys = of_bucket.filter_map(|index| {
            let change = plan.keys.get(index);
            let created = Created::new(change.kind, plan.keys.versions(index), now).ok()?;
            let gates = self.gates_of(plan, index);
            let is_open = gates.iter().any(|(_, _, gate)| gate.is_open());
            let for_unchanged = gates
                .iter()
                .any(|(_, _, gate)| gate.is_open_for_unchanged());
            is_open.then_some(Key {
                index,
                name: change.name(),
                created,
                now,
                compares: for_unchanged && app.config.compare_buckets.contains(bucket),
            })
        });
        keys.collect()
    }

    /// The paths of a key that would be invalidated, each with its target and its gate.
    fn gates_of<'k>(
        &self,
        plan: &'k Plan<'_>,
        key: KeyIndex,
    ) -> Vec<(&'k Distribution, PlannedPath<'k>, Gate)> {
        let bucket = plan.keys.get(key).bucket;
        let mut gates = Vec::new();
        for verdict in plan.explain(key) {
            let Verdict::Decided(distribution, plan::Decision::Invalidate(paths)) = verdict else {
                continue;
            };
            for path in paths {
                if let Some(gate) = self.gate(distribution, path.reason.behavior, bucket) {
                    gates.push((distribution, path, gate));
                }
            }
        }
        gates
    }

    /// What becomes of a key at each target: it is skipped only if each of its paths may be.
    fn decide(&self, plan: &Plan<'_>, key: KeyIndex, finding: Finding) -> Vec<(Target, Decision)> {
        let found = Ok(finding);
        let gates = self.gates_of(plan, key);
        let of_distribution = gates.chunk_by(|(a, ..), (b, ..)| a.id == b.id);
        let decided = of_distribution.filter_map(|gates| {
            let [target] = gates[0].0.targets.as_slice() else {
                return None;
            };
            let paths = Paths {
                count: gates.len(),
                has_others: gates
                    .iter()
                    .any(|(_, it, _)| it.reason.role != PathRole::Own),
            };
            let mut decisions = gates.iter().map(|(.., gate)| decide(&found, gate, paths));
            let is_skipped = |it: &Decision| matches!(it, Decision::Skip { .. });
            let first = decisions.next()?;
            let decision = if is_skipped(&first) {
                decisions.find(|it| !is_skipped(it)).unwrap_or(first)
            } else {
                first
            };
            Some((target.clone(), decision))
        });
        decided.collect()
    }
}

/// A key to look up.
struct Key<'k> {
    index: KeyIndex,
    name: &'k str,
    created: Created<'k>,
    now: EventTime,
    /// Whether the headers and tags of its versions may be compared.
    compares: bool,
}

/// Looks keys of a bucket up. Those that are not found to be skipped are left out.
async fn look_up(
    means: &Means<'_>,
    bucket: &BucketName,
    keys: &[Key<'_>],
    calls: &mut usize,
) -> Vec<(KeyIndex, Finding)> {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    let lookup = LookUp {
        app: means.app,
        bucket,
        keys,
        until: means.until,
    };
    let runs: Vec<LookUps<'_>> = look_ups(&names).collect();
    let runs: Vec<_> = stream::iter(runs)
        .map(|run| lookup.run(run))
        .buffer_unordered(LISTS_AT_ONCE)
        .collect()
        .await;
    let mut found = Vec::new();
    for (of_run, calls_of_run) in runs {
        *calls += calls_of_run;
        found.extend(of_run);
    }
    found
}

struct LookUp<'a> {
    app: &'a App,
    bucket: &'a BucketName,
    keys: &'a [Key<'a>],
    until: Instant,
}

impl LookUp<'_> {
    /// Asks for the versions of keys that stand in a row.
    async fn run(&self, mut run: LookUps<'_>) -> (Vec<(KeyIndex, Finding)>, usize) {
        let (mut found, mut calls) = (Vec::new(), 0);
        while let Some(call) = run.call() {
            calls += 1;
            let Ok(Some(answer)) = timeout_at(self.until, self.list(call)).await else {
                break;
            };
            let Some(page) = page(&answer) else {
                warn!(stage = "flush", bucket = %self.bucket, "S3 left something out of a list of versions, so nothing in it is skipped");
                break;
            };
            for (name, listing) in run.take(&page) {
                let place = self.keys.binary_search_by(|key| key.name.cmp(name));
                let Ok(place) = place else {
                    continue;
                };
                let key = &self.keys[place];
                let Ok(candidate) = key.created.compare(&listing, key.now) else {
                    continue;
                };
                if let Some(finding) = self.compare(key, &candidate, &mut calls).await {
                    found.push((key.index, finding));
                }
            }
        }
        (found, calls)
    }

    async fn list(&self, call: ListCall) -> Option<ListObjectVersionsOutput> {
        let ListCall {
            prefix,
            key_marker,
            max_keys,
        } = call;
        let request = self.app.clients.s3().list_object_versions();
        let request = request.bucket(self.bucket.as_str()).prefix(prefix);
        let request = request.max_keys(i32::from(max_keys));
        match request.set_key_marker(key_marker).send().await {
            Ok(answer) => Some(answer),
            Err(error) => {
                let error = service_error(&error);
                warn!(stage = "flush", bucket = %self.bucket, %error, "versions cannot be listed, so nothing is skipped");
                None
            }
        }
    }

    /// Compares headers and tags, if that is what is left to be known.
    async fn compare(
        &self,
        key: &Key<'_>,
        candidate: &Candidate<'_>,
        calls: &mut usize,
    ) -> Option<Finding> {
        let versions = match candidate {
            Candidate::FirstUpload => return candidate.compare(&[]).ok(),
            Candidate::SameContent(versions) if key.compares => versions,
            Candidate::SameContent(_) => return None,
        };
        *calls += 2 * versions.len();
        let answers: Vec<_> = stream::iter(*versions)
            .map(|version| self.read_version(key.name, version.id))
            .buffered(VERSIONS_AT_ONCE)
            .collect()
            .await;
        let heads: Vec<_> = answers.iter().map(|it| it.as_ref().map(head)).collect();
        candidate.compare(&heads).ok()
    }

    async fn read_version(
        &self,
        key: &str,
        id: &str,
    ) -> Option<(HeadObjectOutput, GetObjectTaggingOutput)> {
        let s3 = self.app.clients.s3();
        let (bucket, until) = (self.bucket.as_str(), self.until);
        let head = s3.head_object().bucket(bucket).key(key).version_id(id);
        let tags = s3
            .get_object_tagging()
            .bucket(bucket)
            .key(key)
            .version_id(id);
        let (head, tags) = tokio::join!(
            timeout_at(until, head.send()),
            timeout_at(until, tags.send())
        );
        let error = match (head.ok()?, tags.ok()?) {
            (Ok(head), Ok(tags)) => return Some((head, tags)),
            (Err(error), _) => service_error(&error),
            (_, Err(error)) => service_error(&error),
        };
        warn!(stage = "flush", bucket = %self.bucket, %error, "a version cannot be read, so its key is not skipped");
        None
    }
}

/// The answer of S3, if it leaves nothing out.
fn page(answer: &ListObjectVersionsOutput) -> Option<Page<'_>> {
    let versions = answer.versions().iter().map(|it| {
        let listed = Listed {
            id: it.version_id()?,
            is_latest: it.is_latest()?,
            last_modified: time_of(it.last_modified()?),
            object: Some(ListedObject {
                etag: it.e_tag()?,
                size: it.size()?,
                storage_class: it.storage_class().map_or("STANDARD", |it| it.as_str()),
            }),
        };
        Some((it.key()?, listed))
    });
    let markers = answer.delete_markers().iter().map(|it| {
        let listed = Listed {
            id: it.version_id()?,
            is_latest: it.is_latest()?,
            last_modified: time_of(it.last_modified()?),
            object: None,
        };
        Some((it.key()?, listed))
    });
    let cut_at = match answer.is_truncated()? {
        true => Some(answer.next_key_marker()?),
        false => None,
    };
    Some(Page {
        versions: versions.collect::<Option<_>>()?,
        markers: markers.collect::<Option<_>>()?,
        cut_at,
    })
}

fn time_of(time: &aws_sdk_s3::primitives::DateTime) -> EventTime {
    EventTime(time.to_millis().unwrap_or(i64::MAX))
}

/// What S3 tells of a version.
fn head((head, tags): &(HeadObjectOutput, GetObjectTaggingOutput)) -> Head<'_> {
    let metadata = head.metadata().into_iter().flatten();
    let tags = tags.tag_set().iter().map(|tag| (tag.key(), tag.value()));
    Head {
        etag: head.e_tag().unwrap_or_default(),
        headers: Headers {
            content_type: head.content_type(),
            cache_control: head.cache_control(),
            content_encoding: head.content_encoding(),
            content_disposition: head.content_disposition(),
            content_language: head.content_language(),
            expires: head.expires_string(),
            website_redirect_location: head.website_redirect_location(),
        },
        metadata: metadata
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        lost_metadata: head.missing_meta().is_some_and(|missing| missing > 0),
        encryption: head.server_side_encryption().map(|it| it.as_str()),
        has_customer_key: head.sse_customer_algorithm().is_some(),
        is_replica: head.replication_status() == Some(&ReplicationStatus::Replica),
        tags: Some(tags.collect()),
    }
}
