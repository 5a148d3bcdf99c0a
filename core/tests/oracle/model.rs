//! The second implementation: slow, and so simple that it can be checked by reading it.
//!
//! It shares no code with the product and uses different algorithms where possible: it matches patterns
//! by trying everything, resolves `..` by rewriting the text, lists all endpoints, and finds covered
//! paths by comparing all with all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::world::{Behavior, Change, Distribution, ErrorResponse, Event, Origin, Policy, World};

/// Managed policies (Developer Guide, "Use managed cache policies").
pub const CACHING_OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";
pub const CACHING_DISABLED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";

/// The expected result for a world.
#[derive(Debug, Default)]
pub struct Expected {
    /// For each change the tag and the entry that exempt it.
    pub exempt: Vec<Option<(String, String)>>,
    /// For each target with paths: the paths to clear, and the messages whose changes need them.
    pub targets: BTreeMap<Target, BTreeMap<String, BTreeSet<u32>>>,
    pub keys: usize,
    pub unmatched: usize,
    pub not_cached: usize,
    /// For each key, everything that is said about it.
    pub reasons: BTreeMap<Key, BTreeSet<(String, Reason)>>,
    /// The rules that had a say.
    pub reached: BTreeSet<&'static str>,
}

/// Whether an event says that the live object is gone; nothing, if the live object is as it was.
fn is_deletion(event: Event) -> Option<bool> {
    match (event.name, event.version_id) {
        ("ObjectCreated:Put" | "ObjectCreated:Copy", _) => Some(false),
        ("LifecycleExpiration:Delete", Some("v1")) => None,
        _ => Some(true),
    }
}

/// Distribution and tenant.
pub type Target = (String, Option<String>);

/// Bucket and key.
pub type Key = (String, String);

/// Why a key is or is not invalidated at one origin of one target, or of one distribution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Disabled,
    NoTenants,
    /// The id of the origin.
    OutsideOriginPath(String),
    SentElsewhere(Deciding),
    /// With the seconds for which an error may hide a created object, if it is cached so long.
    NotCached(Deciding, Option<i64>),
    Invalidate {
        path: String,
        by: Deciding,
        deleted: bool,
        role: Role,
        wildcard: Option<&'static str>,
    },
    /// No distribution invalidates it: the nearest of the reasons above, as a number.
    Unmatched(Option<u8>),
}

/// The behavior that takes a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deciding {
    pub pattern: Option<String>,
    pub target_origin_id: String,
    pub caches: bool,
    pub query_strings: bool,
}

impl Deciding {
    /// Where it does not matter which behavior decided.
    pub fn any() -> Self {
        Self {
            pattern: None,
            target_origin_id: String::new(),
            caches: true,
            query_strings: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Own,
    Root,
    Folder,
    Errors,
}

impl Reason {
    fn nearness(&self) -> Option<u8> {
        Some(match self {
            Self::Disabled => 0,
            Self::NoTenants => 1,
            Self::OutsideOriginPath(_) => 2,
            Self::SentElsewhere(_) => 3,
            Self::NotCached(..) => 4,
            Self::Invalidate { .. } | Self::Unmatched(_) => return None,
        })
    }
}

/// What happened to a key: whether it was deleted at any time, and in which messages it came.
struct KeyHistory<'a> {
    bucket: &'a str,
    key: &'a str,
    deleted: bool,
    messages: BTreeSet<u32>,
}

/// The decision of a distribution for one of its paths.
enum Answer<'a> {
    Clear(&'a Behavior),
    SentElsewhere(&'a Behavior),
    NotCached(&'a Behavior),
}

pub fn expected(world: &World) -> Expected {
    let mut expected = Expected::default();
    let mut keys: Vec<KeyHistory<'_>> = Vec::new();
    for change in &world.changes {
        let Some(deleted) = is_deletion(change.event) else {
            expected.reached.insert("an old version");
            expected.exempt.push(None);
            continue;
        };
        let exempting = exempting(world, change);
        if exempting.is_some() {
            expected.reached.insert("exempt");
        } else {
            let known = keys
                .iter_mut()
                .find(|key| key.bucket == change.bucket && key.key == change.key);
            if let Some(known) = known {
                expected.reached.insert("a key twice");
                known.deleted |= deleted;
                known.messages.insert(change.message);
            } else {
                keys.push(KeyHistory {
                    bucket: change.bucket,
                    key: &change.key,
                    deleted,
                    messages: BTreeSet::from([change.message]),
                });
            }
        }
        expected.exempt.push(exempting);
    }
    expected.keys = keys.len();
    let mut matched = vec![false; keys.len()];
    let mut not_cached = vec![false; keys.len()];
    for distribution in &world.distributions {
        let targets = targets(distribution);
        let out_of_service = if !distribution.enabled {
            expected.reached.insert("disabled");
            Some(Reason::Disabled)
        } else if targets.is_empty() {
            expected.reached.insert("no tenants");
            Some(Reason::NoTenants)
        } else {
            None
        };
        if let Some(reason) = out_of_service {
            for key in &keys {
                if seen_origins(distribution)
                    .iter()
                    .any(|it| endpoint(&it.domain_name, key.bucket, &world.aliases).is_some())
                {
                    expected.says(key, distribution.id.clone(), reason.clone());
                }
            }
            continue;
        }
        for target in targets {
            let mut wanted: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
            for origin in &distribution.origins.items {
                let origin = seen_by(&target, origin, distribution);
                if origin.domain_name.contains("{{") || origin.origin_path.contains("{{") {
                    expected.reached.insert("a placeholder nobody fills");
                }
                for (n, key) in keys.iter().enumerate() {
                    let reached = &mut expected.reached;
                    let reasons = at_origin(world, distribution, &origin, key, reached);
                    for reason in reasons {
                        if let Reason::Invalidate { path, .. } = &reason {
                            matched[n] = true;
                            let messages = wanted.entry(path.clone()).or_default();
                            messages.extend(&key.messages);
                        }
                        not_cached[n] |= matches!(reason, Reason::NotCached(..));
                        expected.says(key, name(&target), reason);
                    }
                }
            }
            let is_covered = |path: &String| wanted.keys().any(|other| covers(other, path));
            if wanted.keys().any(is_covered) {
                expected.reached.insert("covered by a wildcard");
            }
            if !wanted.is_empty() {
                if target.1.is_some() {
                    expected.reached.insert("tenant");
                }
                expected.targets.insert(target, wanted);
            }
        }
    }
    for ((key, matched), not_cached) in keys.iter().zip(matched).zip(not_cached) {
        if !matched {
            expected.reached.insert("unmatched");
            expected.unmatched += 1;
            expected.not_cached += usize::from(not_cached);
            let said = expected.reasons.get(&key.name());
            let reasons = said.into_iter().flatten().map(|(_, reason)| reason);
            let nearest = reasons.filter_map(Reason::nearness).max();
            expected.says(key, String::new(), Reason::Unmatched(nearest));
        }
    }
    expected
}

impl Expected {
    fn says(&mut self, key: &KeyHistory<'_>, of: String, reason: Reason) {
        self.reasons
            .entry(key.name())
            .or_default()
            .insert((of, reason));
    }
}

impl KeyHistory<'_> {
    fn name(&self) -> Key {
        (self.bucket.to_owned(), self.key.to_owned())
    }
}

/// How a target is called in the reasons.
pub fn name((distribution, tenant): &Target) -> String {
    match tenant {
        Some(tenant) => format!("{distribution} {tenant}"),
        None => distribution.clone(),
    }
}

/// What is said about a key at one origin: nothing, if the origin is not its bucket.
fn at_origin(
    world: &World,
    distribution: &Distribution,
    origin: &Origin,
    key: &KeyHistory<'_>,
    reached: &mut BTreeSet<&'static str>,
) -> Vec<Reason> {
    let Some(is_website) = endpoint(&origin.domain_name, key.bucket, &world.aliases) else {
        return Vec::new();
    };
    let Some(path) = viewer_path(key.key, &origin.origin_path) else {
        reached.insert("outside the origin path");
        return vec![Reason::OutsideOriginPath(origin.id.clone())];
    };
    let mut reasons: Vec<Reason> = Vec::new();
    let mut skip = None;
    let mut clear = |behavior: &Behavior, path: &str, role| {
        for (path, wildcard) in
            paths_with_causes(path, has_query_strings(behavior, &world.policies))
        {
            let is_known = |it: &Reason| matches!(it, Reason::Invalidate { path: known, .. } if *known == path);
            if !reasons.iter().any(is_known) {
                let (by, deleted) = (deciding(behavior, world), key.deleted);
                reasons.push(Reason::Invalidate {
                    path,
                    by,
                    deleted,
                    role,
                    wildcard,
                });
            }
        }
    };
    match answer(world, distribution, origin, &path, key.deleted) {
        Answer::Clear(behavior) => {
            clear(behavior, &path, Role::Own);
            if !caches(behavior, &world.policies) {
                reached.insert("a deletion where nothing is cached");
            }
            if let Some(root) = &distribution.root_object
                && !root.is_empty()
                && path == format!("/{}", root.strip_prefix('/').unwrap_or(root))
            {
                reached.insert("default root object");
                clear(behavior, "/", Role::Root);
            }
            if behavior.path_pattern.is_some() {
                reached.insert("a behavior of its own");
            }
            if origin.origin_path.len() > 1 {
                reached.insert("below an origin path");
            }
            if behavior.target_origin_id.starts_with('g') {
                reached.insert("group");
            }
            if path.contains('~') {
                reached.insert("tilde");
            }
            if has_query_strings(behavior, &world.policies) && path.ends_with('/') {
                reached.insert("folder with query strings");
            }
        }
        Answer::SentElsewhere(behavior) => {
            reached.insert("sent elsewhere");
            skip = Some(Reason::SentElsewhere(deciding(behavior, world)));
        }
        Answer::NotCached(behavior) => {
            reached.insert("not cached");
            skip = Some(Reason::NotCached(
                deciding(behavior, world),
                hidden_for(distribution),
            ));
        }
    }
    let tag = index_document(world, key.bucket);
    let index = tag.or(is_website.then(|| "index.html".to_owned()));
    if let Some(index) = &index
        && path.ends_with(&format!("/{index}"))
    {
        let folder = &path[..path.len() - index.len()];
        if let Answer::Clear(behavior) = answer(world, distribution, origin, folder, key.deleted) {
            reached.insert("index document");
            if skip.take().is_some() {
                reached.insert("index document by its folder only");
            }
            clear(behavior, folder, Role::Folder);
        }
    }
    // An error page is stale under the paths that it stands in for, if it is served from here.
    let is_served_here = |asked: &str| {
        let answer = answer(world, distribution, origin, asked, key.deleted);
        !matches!(answer, Answer::SentElsewhere(_))
    };
    let is_root = |root: &String| {
        !root.is_empty() && path == format!("/{}", root.strip_prefix('/').unwrap_or(root))
    };
    let is_shown_for = |page: &str| {
        let is_root = page == "/" && distribution.root_object.as_ref().is_some_and(is_root);
        let is_index = index.as_ref().is_some_and(|index| {
            page.ends_with('/') && path == format!("{page}{index}") && is_served_here(page)
        });
        ((page == path || is_root) && is_served_here(&path)) || is_index
    };
    let mut pages = distribution.custom_error_responses.items.iter();
    let is_long_cached_page = |response: &ErrorResponse| {
        let page = response
            .response_page_path
            .replace("%20", " ")
            .replace("%25", "%");
        !page.is_empty() && seconds(response) > DEBOUNCE && is_shown_for(&page)
    };
    if pages.any(is_long_cached_page) {
        reached.insert("error page");
        skip = None;
        if !reasons
            .iter()
            .any(|it| matches!(it, Reason::Invalidate { path, .. } if path == "/*"))
        {
            reasons.push(Reason::Invalidate {
                path: "/*".to_owned(),
                by: Deciding::any(),
                deleted: key.deleted,
                role: Role::Errors,
                wildcard: Some("error page"),
            });
        }
    }
    reasons.extend(skip);
    reasons
}

/// Seconds between a change and the flush.
pub const DEBOUNCE: i64 = 10;

fn seconds(response: &ErrorResponse) -> i64 {
    response.ttl.unwrap_or(10)
}

/// For how long the error of a missing object is cached, if that is longer than the debounce.
fn hidden_for(distribution: &Distribution) -> Option<i64> {
    let of_code = |code| {
        let mut responses = distribution.custom_error_responses.items.iter().rev();
        let response = responses.find(|it| it.error_code == code);
        response.map_or(10, seconds)
    };
    Some(of_code(403).max(of_code(404))).filter(|seconds| *seconds > DEBOUNCE)
}

fn deciding(behavior: &Behavior, world: &World) -> Deciding {
    Deciding {
        pattern: behavior.path_pattern.clone(),
        target_origin_id: behavior.target_origin_id.clone(),
        caches: caches(behavior, &world.policies),
        query_strings: has_query_strings(behavior, &world.policies),
    }
}

fn answer<'a>(
    world: &World,
    distribution: &'a Distribution,
    origin: &Origin,
    path: &str,
    deleted: bool,
) -> Answer<'a> {
    let chosen = chosen(distribution, path);
    let group = distribution
        .origin_groups
        .items
        .iter()
        .find(|group| group.id == chosen.target_origin_id);
    let is_sent_there = match group {
        Some(group) => group
            .members
            .items
            .iter()
            .any(|member| member.origin_id == origin.id),
        None => chosen.target_origin_id == origin.id,
    };
    if !is_sent_there {
        Answer::SentElsewhere(chosen)
    } else if !deleted && !caches(chosen, &world.policies) {
        Answer::NotCached(chosen)
    } else {
        Answer::Clear(chosen)
    }
}

/// The behavior that takes a path.
fn chosen<'a>(distribution: &'a Distribution, path: &str) -> &'a Behavior {
    let path = normalized(path);
    let encoded = encoded(&path);
    let mut chosen = &distribution.default_cache_behavior;
    // From the last to the first, so that the first match wins.
    for behavior in distribution.cache_behaviors.items.iter().rev() {
        if let Some(pattern) = &behavior.path_pattern
            && (takes(pattern, &path) || takes(pattern, &encoded))
        {
            chosen = behavior;
        }
    }
    chosen
}

fn targets(distribution: &Distribution) -> Vec<Target> {
    if distribution.connection_mode == Some("tenant-only") {
        let tenants = distribution.tenants.iter();
        tenants
            .map(|tenant| (distribution.id.clone(), Some(tenant.id.clone())))
            .collect()
    } else {
        vec![(distribution.id.clone(), None)]
    }
}

/// The origins of a distribution that is out of service, as its tenants would see them.
fn seen_origins(distribution: &Distribution) -> Vec<Origin> {
    let origins = &distribution.origins.items;
    let has_placeholders = origins
        .iter()
        .any(|origin| origin.domain_name.contains("{{") || origin.origin_path.contains("{{"));
    if distribution.connection_mode != Some("tenant-only") || !has_placeholders {
        return origins.clone();
    }
    let mut seen = Vec::new();
    for target in targets(distribution) {
        seen.extend(origins.iter().map(|it| seen_by(&target, it, distribution)));
    }
    seen
}

/// The origin with the placeholders filled that the tenant fills.
fn seen_by(target: &Target, origin: &Origin, distribution: &Distribution) -> Origin {
    let mut seen = origin.clone();
    let mut tenants = distribution.tenants.iter();
    if let Some(tenant) = tenants.find(|tenant| target.1.as_ref() == Some(&tenant.id)) {
        for (name, value) in &tenant.parameters {
            let placeholder = ["{{", *name, "}}"].concat();
            seen.domain_name = seen.domain_name.replace(&placeholder, value);
            seen.origin_path = seen.origin_path.replace(&placeholder, value);
        }
    }
    seen
}

/// Caches if MaxTTL is above 0 (a MinTTL above it wins). An unknown policy is assumed to cache.
fn caches(behavior: &Behavior, policies: &[Policy]) -> bool {
    const YEAR: i64 = 31_536_000;
    match behavior.cache_policy_id {
        None | Some("") => {
            let headers = behavior
                .forwarded_values
                .as_ref()
                .and_then(|values| values.headers.as_ref());
            if headers.is_some_and(|headers| headers.items.contains(&"*")) {
                return false;
            }
            behavior.max_ttl.unwrap_or(YEAR) > 0 || behavior.min_ttl.unwrap_or(0) > 0
        }
        Some(CACHING_OPTIMIZED) => true,
        Some(CACHING_DISABLED) => false,
        Some(id) => match policies.iter().find(|policy| policy.id == id) {
            Some(policy) => policy.max_ttl.unwrap_or(YEAR) > 0 || policy.min_ttl > 0,
            None => true,
        },
    }
}

fn has_query_strings(behavior: &Behavior, policies: &[Policy]) -> bool {
    match behavior.cache_policy_id {
        None | Some("") => behavior
            .forwarded_values
            .as_ref()
            .is_some_and(|values| values.query_string),
        Some(CACHING_OPTIMIZED | CACHING_DISABLED) => false,
        // An unknown policy is assumed to have them.
        Some(id) => {
            let policy = policies.iter().find(|policy| policy.id == id);
            policy.is_none_or(|policy| {
                matches!(
                    policy.query_strings,
                    Some("all" | "whitelist" | "allExcept")
                )
            })
        }
    }
}

/// Everything that can follow the name of a bucket in the domain of an origin, and whether it is
/// the website endpoint.
pub fn endpoints() -> &'static [(String, bool)] {
    const REGIONS: [&str; 9] = [
        "us-east-1",
        "eu-west-1",
        "ap-northeast-2",
        "ap-southeast-4",
        "us-gov-west-1",
        "cn-north-1",
        "eusc-de-east-1",
        "mx-central-1",
        "external-1",
    ];
    static ENDPOINTS: LazyLock<Vec<(String, bool)>> = LazyLock::new(|| {
        let mut endpoints = vec![("s3.amazonaws.com".to_owned(), false)];
        for partition in ["amazonaws.com", "amazonaws.com.cn", "amazonaws.eu"] {
            for region in REGIONS {
                for (service, is_website) in [
                    ("s3.", false),
                    ("s3-", false),
                    ("s3.dualstack.", false),
                    ("s3-fips.", false),
                    ("s3-fips.dualstack.", false),
                    ("s3-website-", true),
                    ("s3-website.", true),
                ] {
                    endpoints.push((format!("{service}{region}.{partition}"), is_website));
                }
            }
        }
        endpoints
    });
    &ENDPOINTS
}

/// Whether a domain is this bucket, and if so whether its website endpoint.
fn endpoint(domain: &str, bucket: &str, aliases: &[(String, String)]) -> Option<bool> {
    let mut domain = domain.to_lowercase();
    if domain.ends_with('.') {
        domain.pop();
    }
    for (endpoint, is_website) in endpoints() {
        if domain.len() == bucket.len() + 1 + endpoint.len()
            && domain == format!("{bucket}.{endpoint}")
        {
            return Some(*is_website);
        }
    }
    for (alias, of) in aliases {
        let alias = alias.to_lowercase();
        if of == bucket && (domain == alias || domain.starts_with(&format!("{alias}."))) {
            return Some(false);
        }
    }
    None
}

/// The path at which an origin serves a key.
pub fn viewer_path(key: &str, origin_path: &str) -> Option<String> {
    let request = |path: &str| format!("{}{path}", origin_path.trim_matches('/'));
    // CloudFront requests origin path + viewer path: which viewer path requests this key?
    if origin_path.trim_matches('/').is_empty() {
        return Some(format!("/{key}"));
    }
    key.match_indices('/')
        .map(|(at, _)| &key[at..])
        .find(|path| request(path) == key)
        .map(str::to_owned)
}

/// Drops empty and `.` segments; `..` also removes the segment before it.
pub fn normalized(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    while path.contains("/./") {
        path = path.replace("/./", "/");
    }
    if path.ends_with("/.") {
        path.pop();
    }
    let ends_with_dots = path.ends_with("/..");
    if ends_with_dots {
        path.push('/');
    }
    while let Some(dots) = path.find("/../") {
        let parent = path[..dots].rfind('/').unwrap_or(0);
        path.replace_range(parent..dots + "/..".len(), "");
    }
    path
}

/// All other characters are encoded (`~` cannot be sent at all, see [`paths_for`]).
const RAW: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-_.!$&()*,:;=@~";

pub fn encoded(text: &str) -> String {
    units(text).concat()
}

/// The indivisible units of a path: a raw character or an escape.
fn units(text: &str) -> Vec<String> {
    let mut units = Vec::new();
    for character in text.chars() {
        if RAW.contains(character) {
            units.push(character.to_string());
        } else {
            for byte in character.to_string().bytes() {
                units.push(format!("%{byte:02X}"));
            }
        }
    }
    units
}

/// The paths that clear a viewer path.
pub fn paths_for(path: &str, query_strings: bool) -> Vec<String> {
    let paths = paths_with_causes(path, query_strings).into_iter();
    paths.map(|(path, _)| path).collect()
}

/// The paths that clear a viewer path, each with the reason why it is a wildcard, if it is one.
fn paths_with_causes(path: &str, query_strings: bool) -> Vec<(String, Option<&'static str>)> {
    if let Some((before, _)) = path.split_once('~') {
        return vec![(longest_wildcard(before), Some("tilde"))];
    }
    let exact = encoded(path);
    let asterisk = exact.ends_with('*').then_some("asterisk");
    let paths = match (query_strings, path.ends_with('/')) {
        (false, _) => vec![(exact, asterisk)],
        (true, false) => vec![(format!("{exact}*"), Some("query strings"))],
        (true, true) => vec![
            (exact.clone(), None),
            (format!("{exact}?*"), Some("query strings")),
        ],
    };
    if paths.iter().any(|(path, _)| path.len() > 4_000) {
        vec![(longest_wildcard(path), Some("length"))]
    } else {
        paths
    }
}

fn longest_wildcard(begin: &str) -> String {
    let mut wildcard = String::new();
    for unit in units(begin) {
        if wildcard.len() + unit.len() + "*".len() > 4_000 {
            break;
        }
        wildcard.push_str(&unit);
    }
    wildcard + "*"
}

/// Whether `wildcard` clears everything that `path` clears, and is not equal to it.
pub fn covers(wildcard: &str, path: &str) -> bool {
    let Some(begin) = wildcard.strip_suffix('*') else {
        return false;
    };
    let all_of_path = path.strip_suffix('*').unwrap_or(path);
    wildcard != path && all_of_path.starts_with(begin)
}

/// The paths without those that a wildcard covers.
pub fn uncovered(paths: &BTreeSet<String>) -> BTreeSet<String> {
    let mut left = BTreeSet::new();
    for path in paths {
        if !paths.iter().any(|other| covers(other, path)) {
            left.insert(path.clone());
        }
    }
    left
}

/// Whether a path pattern matches a path.
pub fn takes(pattern: &str, path: &str) -> bool {
    if pattern.starts_with('/') {
        matches(pattern, path)
    } else {
        matches(&format!("/{pattern}"), path)
    }
}

/// `*` is any run of characters, `?` exactly one; everything else is literal.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    rest_matches(&pattern, &text)
}

fn rest_matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        // Two stars are the same as one. This shortcut is here only because trying all would take too long.
        ['*', '*', ..] => rest_matches(&pattern[1..], text),
        ['*', pattern @ ..] => (0..=text.len()).any(|taken| rest_matches(pattern, &text[taken..])),
        ['?', pattern @ ..] => !text.is_empty() && rest_matches(pattern, &text[1..]),
        [literal, pattern @ ..] => {
            text.first() == Some(literal) && rest_matches(pattern, &text[1..])
        }
    }
}

/// The tag and the entry that exempt a change.
fn exempting(world: &World, change: &Change) -> Option<(String, String)> {
    if is_deletion(change.event) == Some(true) {
        return None;
    }
    for (bucket, tags) in &world.tags {
        for tag in tags {
            let number = tag.key.strip_prefix("exceptionPaths");
            let is_ours = number.is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()));
            if *bucket != change.bucket || !is_ours {
                continue;
            }
            for entry in entries(&tag.value) {
                if exempts(&entry, &change.key) {
                    return Some((tag.key.to_owned(), entry));
                }
            }
        }
    }
    None
}

fn entries(value: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    for character in value.chars() {
        if character.is_whitespace() || character == ',' || character == ':' {
            entries.push(String::new());
        } else if let Some(entry) = entries.last_mut() {
            entry.push(character);
        }
    }
    entries
}

/// Whether an entry of an exception tag covers a key.
fn exempts(entry: &str, key: &str) -> bool {
    if entry.chars().all(|character| character == '/') {
        return false;
    }
    let path = entry.strip_prefix('/').unwrap_or(entry);
    if path.contains('*') || path.contains('?') {
        return matches(path, key);
    }
    let folder = path.strip_suffix('/').unwrap_or(path);
    key == folder || key.starts_with(&format!("{folder}/"))
}

fn index_document(world: &World, bucket: &str) -> Option<String> {
    let (_, tags) = world.tags.iter().find(|(of, _)| *of == bucket)?;
    let tag = tags.iter().find(|tag| tag.key == "indexDocument")?;
    let name = tag
        .value
        .trim()
        .trim_start_matches('/')
        .trim_end_matches('/');
    (!name.is_empty()).then(|| name.to_owned())
}
