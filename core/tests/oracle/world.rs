//! The input of a case: distributions, cache policies, bucket tags and changes, as plain data.
//!
//! Everything is made to match: patterns and origin paths are made from the keys that change.

use serde::Serialize;

use super::model;
use super::tape::Tape;

#[derive(Debug)]
pub struct World {
    pub distributions: Vec<Distribution>,
    pub policies: Vec<Policy>,
    /// `ORIGIN_BUCKETS`
    pub aliases: Vec<(String, String)>,
    pub tags: Vec<(&'static str, Vec<Tag>)>,
    pub changes: Vec<Change>,
    pub limits: Limits,
}

/// A distribution, with the fields that the AWS command line prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Distribution {
    pub id: String,
    pub enabled: bool,
    pub staging: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_mode: Option<&'static str>,
    #[serde(skip)]
    pub tenants: Vec<Tenant>,
    #[serde(skip)]
    pub root_object: Option<String>,
    pub origins: List<Origin>,
    pub origin_groups: List<Group>,
    pub cache_behaviors: List<Behavior>,
    pub default_cache_behavior: Behavior,
    pub custom_error_responses: List<ErrorResponse>,
}

/// What viewers get when the origin answers with an error.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorResponse {
    pub error_code: i32,
    pub response_page_path: String,
    #[serde(rename = "ErrorCachingMinTTL", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
}

/// A tenant of a multi-tenant distribution, and its values for placeholders.
#[derive(Debug)]
pub struct Tenant {
    pub id: String,
    pub parameters: Vec<(&'static str, String)>,
}

/// `Items` is absent when it is empty.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct List<T> {
    quantity: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<T>,
}

impl<T> List<T> {
    pub fn of(items: impl IntoIterator<Item = T>) -> Self {
        let items: Vec<T> = items.into_iter().collect();
        Self {
            quantity: items.len(),
            items,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Origin {
    pub id: String,
    pub domain_name: String,
    pub origin_path: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Group {
    pub id: String,
    pub members: List<Member>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    pub origin_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Behavior {
    /// `None` for the default behavior.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_pattern: Option<String>,
    pub target_origin_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_policy_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_values: Option<Forwarded>,
    #[serde(rename = "MinTTL", skip_serializing_if = "Option::is_none")]
    pub min_ttl: Option<i64>,
    #[serde(rename = "MaxTTL", skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Forwarded {
    pub query_string: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<List<&'static str>>,
}

#[derive(Debug)]
pub struct Policy {
    pub id: &'static str,
    pub min_ttl: i64,
    pub max_ttl: Option<i64>,
    pub query_strings: Option<&'static str>,
}

#[derive(Debug)]
pub struct Tag {
    pub key: &'static str,
    pub value: String,
}

#[derive(Debug)]
pub struct Change {
    pub bucket: &'static str,
    pub key: String,
    pub event: Event,
    pub message: u32,
}

/// What S3 says about a key.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub name: &'static str,
    pub version_id: Option<&'static str>,
    /// Whether it comes through EventBridge.
    pub is_bridged: bool,
}

impl Event {
    fn from(tape: &mut Tape<'_>) -> Self {
        let names: &[&str] = if tape.chance(70) {
            &["ObjectCreated:Put", "ObjectCreated:Copy"]
        } else {
            &[
                "ObjectRemoved:Delete",
                "ObjectRemoved:DeleteMarkerCreated",
                "LifecycleExpiration:Delete",
                "LifecycleExpiration:DeleteMarkerCreated",
            ]
        };
        let name = tape.word(names);
        Self {
            name,
            version_id: tape
                .pick(&[None, Some("v1"), Some("null"), Some("")])
                .to_owned(),
            is_bridged: tape.chance(30),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub paths: usize,
    pub wildcards: usize,
    pub bytes: usize,
}

/// Names that are prefixes, suffixes or parts of each other, and one that looks like an endpoint.
const BUCKETS: [&str; 5] = ["site", "www.site", "site.s3", "sit", "other-site"];

const WORDS: [&str; 44] = [
    "a",
    "b",
    "img",
    "web",
    "index.html",
    "a.jpg",
    "b.txt",
    "v1",
    "A",
    "ab",
    "aa",
    "index.htm",
    "한",
    "é",
    "한글.png",
    "🙂",
    "a b",
    "100%",
    "%20",
    "a%20b",
    "%ED%95%9C",
    "a~b",
    "~",
    "..",
    ".",
    "...",
    "",
    "",
    "c++",
    "*",
    "a*",
    "?",
    "a?b",
    "it's",
    "[a]",
    "{a,b}",
    "a\\b",
    "!a",
    "a\nb",
    "\"<>#",
    "|^`",
    "$&()",
    ",:;=@",
    "_-.\u{7f}",
];

const FOLDERS: [&str; 9] = ["", "", "", "web", "web/v1", "a", "img", "한", "a b"];

const COMMON_PATTERNS: [&str; 22] = [
    "*",
    "/*",
    "*.jpg",
    "/img/*",
    "img/*",
    "/a/*",
    "/index.html",
    "*/index.html",
    "/",
    "*/",
    "/*.html",
    "/?",
    "?",
    "/*/b*",
    "/a*b",
    "/**",
    "/a/**/b",
    "*a*b*",
    "/*?",
    "web*",
    "",
    "*.*",
];

const HOSTILE: [&str; 34] = [
    "*",
    "?",
    "a",
    "b",
    "/",
    "[",
    "]",
    "{",
    "}",
    "\\",
    "!",
    ",",
    "**",
    "??",
    "%20",
    "%",
    "é",
    "한",
    "%ED%95%9C",
    ".",
    "-",
    "~",
    "'",
    "\"",
    "@",
    "&",
    "$",
    "+",
    "^",
    "(",
    ")",
    "..",
    "//",
    " ",
];

const ENDPOINTS_ELSEWHERE: [&str; 9] = [
    "s3.amazonaws.com.cn",
    "s3-accelerate.amazonaws.com",
    "s3.eu-west-1.amazonaws.com.example.com",
    "s3.eu-west-1.example.com",
    "execute-api.eu-west-1.amazonaws.com",
    "s3-object-lambda.eu-west-1.amazonaws.com",
    "x.s3.amazonaws.com",
    "example.com",
    "s3.dualstack.amazonaws.com",
];

const POLICIES: [&str; 8] = [
    model::CACHING_OPTIMIZED,
    model::CACHING_DISABLED,
    "policy-0",
    "policy-1",
    "policy-2",
    "policy-3",
    "gone",
    "",
];

impl World {
    pub fn from_tape(bytes: &[u8]) -> Self {
        let tape = &mut Tape::new(bytes);
        let keys: Vec<String> = (0..=tape.below(6)).map(|_| key(tape)).collect();
        let policies = ["policy-0", "policy-1", "policy-2", "policy-3"];
        World {
            changes: (0..=tape.below(12)).map(|_| change(tape, &keys)).collect(),
            distributions: (0..=tape.below(3))
                .map(|n| distribution(tape, n, &keys))
                .collect(),
            policies: policies.map(|id| policy(tape, id)).into(),
            aliases: (0..tape.below(3))
                .map(|_| {
                    let alias = tape.word(&["Ap-s3alias", "m.accesspoint.s3-global.amazonaws.com"]);
                    (alias.to_owned(), tape.word(&BUCKETS).to_owned())
                })
                .collect(),
            tags: BUCKETS.map(|bucket| (bucket, tags(tape, &keys))).into(),
            limits: if tape.chance(20) {
                Limits {
                    paths: 1 + tape.below(4),
                    wildcards: 1 + tape.below(3),
                    bytes: 1 + tape.below(40),
                }
            } else {
                Limits {
                    paths: 3_000,
                    wildcards: 15,
                    bytes: 900_000,
                }
            },
        }
    }
}

/// Most changes are to the first buckets, so that they share distributions and keys.
fn bucket(tape: &mut Tape<'_>) -> &'static str {
    if tape.chance(15) {
        tape.word(&BUCKETS)
    } else {
        BUCKETS[0]
    }
}

fn key(tape: &mut Tape<'_>) -> String {
    let mut parts = vec![tape.word(&FOLDERS)];
    parts.retain(|folder| !folder.is_empty());
    for _ in 0..=tape.below(4) {
        // The odd ones are more than half of the words.
        let words = if tape.chance(50) { 12 } else { WORDS.len() };
        parts.push(tape.word(&WORDS[..words]));
    }
    if tape.chance(20) {
        parts.push("index.html");
    }
    if tape.chance(10) {
        parts.push("");
    }
    let key = parts.join("/");
    if key.is_empty() { "a".to_owned() } else { key }
}

fn change(tape: &mut Tape<'_>, keys: &[String]) -> Change {
    let mut key = tape.pick(keys).clone();
    if tape.chance(10) {
        key.push_str(tape.word(&WORDS));
    }
    Change {
        bucket: bucket(tape),
        key,
        event: Event::from(tape),
        message: tape.below(6) as u32,
    }
}

/// The key, perhaps without some of its first folders, as it may be behind an origin path.
fn below_some_folder(tape: &mut Tape<'_>, key: &str) -> String {
    let mut rest = key;
    while tape.chance(40) {
        rest = rest.split_once('/').map_or(rest, |(_, rest)| rest);
    }
    format!("/{rest}")
}

fn pattern(tape: &mut Tape<'_>, keys: &[String]) -> String {
    match tape.below(8) {
        0..5 => pattern_like(tape, keys),
        5..7 => tape.word(&COMMON_PATTERNS).to_owned(),
        _ => {
            let length = tape.below(7);
            (0..=length).map(|_| tape.word(&HOSTILE)).collect()
        }
    }
}

/// A pattern that matches one of the keys, or nearly does.
fn pattern_like(tape: &mut Tape<'_>, keys: &[String]) -> String {
    let key = tape.pick(keys);
    let mut path = below_some_folder(tape, key);
    if tape.chance(60) {
        path = model::normalized(&path);
    }
    if tape.chance(25) {
        path = model::encoded(&path);
    }
    let mut pattern: Vec<char> = path.chars().collect();
    // With more stars the model, which tries everything, would take far too long.
    for _ in 0..tape.below(4) {
        let from = tape.below(pattern.len() + 1);
        let to = from + tape.below(pattern.len() + 1 - from);
        match tape.below(8) {
            0 => pattern.truncate(to),
            1 | 2 => drop(pattern.splice(from..to, ['*'])),
            3 | 4 if from < pattern.len() => pattern[from] = '?',
            5 => {
                pattern.truncate(from);
                pattern.push('*');
            }
            6 => drop(pattern.splice(..from, ['/', '*'])),
            _ => pattern.insert(from, *tape.pick(&['*', 'a', '?', '/'])),
        }
    }
    let pattern: String = pattern.into_iter().collect();
    match pattern.strip_prefix('/') {
        Some(rest) if tape.chance(30) => rest.to_owned(),
        _ => pattern,
    }
}

fn distribution(tape: &mut Tape<'_>, number: usize, keys: &[String]) -> Distribution {
    let count = *tape.pick(&[1, 1, 1, 2, 2, 3, 4]);
    let origins = List::of((0..count).map(|n| Origin {
        id: format!("o{n}"),
        domain_name: domain(tape),
        origin_path: origin_path(tape, keys),
    }));
    let groups = List::of((0..tape.below(3)).map(|n| Group {
        id: format!("g{n}"),
        members: List::of([member(tape, &origins), member(tape, &origins)]),
    }));
    let mut targets: Vec<String> = origins
        .items
        .iter()
        .map(|origin| origin.id.clone())
        .collect();
    targets.extend(groups.items.iter().map(|group| group.id.clone()));
    if tape.chance(5) {
        targets.push("nowhere".to_owned());
    }
    let behaviors = match tape.below(3) {
        0 => 0,
        1 => 1 + tape.below(3),
        _ => 1 + tape.below(10),
    };
    let modes = [
        None,
        None,
        None,
        Some("direct"),
        Some("direct"),
        Some("tenant-only"),
    ];
    let mode = *tape.pick(&modes);
    Distribution {
        id: format!("E{number}"),
        enabled: !tape.chance(5),
        staging: tape.chance(10),
        connection_mode: mode,
        tenants: if mode == Some("tenant-only") || tape.chance(5) {
            (0..tape.below(5)).map(|n| tenant(tape, n, keys)).collect()
        } else {
            Vec::new()
        },
        root_object: if tape.chance(60) {
            Some(root_object(tape, keys))
        } else {
            None
        },
        cache_behaviors: List::of((0..behaviors).map(|_| {
            let pattern = pattern(tape, keys);
            behavior(tape, Some(pattern), &targets)
        })),
        default_cache_behavior: behavior(tape, None, &targets),
        custom_error_responses: List::of(
            (0..tape.below(6).saturating_sub(3)).map(|_| error_response(tape, keys)),
        ),
        origins,
        origin_groups: groups,
    }
}

fn error_response(tape: &mut Tape<'_>, keys: &[String]) -> ErrorResponse {
    let page = match tape.below(6) {
        0 => String::new(),
        1 => "/index.html".to_owned(),
        2 => "/".to_owned(),
        3 => {
            let key = tape.pick(keys);
            let path = below_some_folder(tape, key);
            let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
            folder.replace('%', "%25").replace(' ', "%20")
        }
        _ => {
            let key = tape.pick(keys);
            // Spaces are encoded in a configuration, as in any URL.
            below_some_folder(tape, key)
                .replace('%', "%25")
                .replace(' ', "%20")
        }
    };
    ErrorResponse {
        error_code: *tape.pick(&[403, 404, 500]),
        response_page_path: page,
        ttl: *tape.pick(&[None, Some(0), Some(10), Some(11), Some(1_800)]),
    }
}

fn tenant(tape: &mut Tape<'_>, number: usize, keys: &[String]) -> Tenant {
    let mut parameters = Vec::new();
    if !tape.chance(10) {
        parameters.push(("bucket", bucket(tape).to_owned()));
    }
    if !tape.chance(10) {
        parameters.push(("folder", folder(tape, keys)));
    }
    Tenant {
        id: format!("dt{number}"),
        parameters,
    }
}

fn root_object(tape: &mut Tape<'_>, keys: &[String]) -> String {
    if tape.chance(20) {
        return tape.word(&["index.html", ""]).to_owned();
    }
    let key = tape.pick(keys);
    let path = below_some_folder(tape, key);
    let object = path.trim_start_matches('/');
    // AWS wants it without the slash, but people write one.
    if tape.chance(20) {
        format!("/{object}")
    } else {
        object.to_owned()
    }
}

fn member(tape: &mut Tape<'_>, origins: &List<Origin>) -> Member {
    Member {
        origin_id: tape.pick(&origins.items).id.clone(),
    }
}

fn origin_path(tape: &mut Tape<'_>, keys: &[String]) -> String {
    let folder = match tape.below(20) {
        0..12 => String::new(),
        12 => "{{folder}}".to_owned(),
        13 => "web/{{folder}}".to_owned(),
        _ => folder(tape, keys),
    };
    match (folder.is_empty(), tape.below(10)) {
        (true, 9) => "/".to_owned(),
        (true, _) => String::new(),
        (false, 9) => format!("/{folder}/"),
        (false, _) => format!("/{folder}"),
    }
}

/// A folder of one of the keys, or a frequent one.
fn folder(tape: &mut Tape<'_>, keys: &[String]) -> String {
    if tape.chance(50) {
        return tape.word(&FOLDERS).to_owned();
    }
    let key = tape.pick(keys);
    let slashes: Vec<usize> = key.match_indices('/').map(|(at, _)| at).collect();
    if slashes.is_empty() {
        key.clone()
    } else {
        key[..*tape.pick(&slashes)].to_owned()
    }
}

fn domain(tape: &mut Tape<'_>) -> String {
    let bucket = bucket(tape);
    let domain = match tape.below(16) {
        0..11 => {
            let (endpoint, _) = tape.pick(model::endpoints());
            format!("{bucket}.{endpoint}")
        }
        11 => "{{bucket}}.s3.eu-west-1.amazonaws.com".to_owned(),
        12 => "ap-S3alias.s3.eu-west-1.amazonaws.com".to_owned(),
        13 => "m.accesspoint.s3-global.amazonaws.com".to_owned(),
        14 => format!("{bucket}.{}", tape.word(&ENDPOINTS_ELSEWHERE)),
        _ => tape
            .word(&["s3.amazonaws.com", "site", "ap-s3aliasx.s3.amazonaws.com"])
            .to_owned(),
    };
    match tape.below(16) {
        14 => domain.to_uppercase(),
        15 => format!("{domain}."),
        _ => domain,
    }
}

fn behavior(tape: &mut Tape<'_>, pattern: Option<String>, targets: &[String]) -> Behavior {
    Behavior {
        path_pattern: pattern,
        target_origin_id: if tape.chance(50) {
            tape.pick(targets).clone()
        } else {
            targets[0].clone()
        },
        cache_policy_id: if tape.chance(60) {
            Some(tape.word(&POLICIES))
        } else {
            None
        },
        forwarded_values: if tape.chance(50) {
            Some(Forwarded {
                query_string: tape.chance(50),
                headers: if tape.chance(50) {
                    let all: [&[&str]; 4] = [&[], &["Host"], &["*"], &["Host", "*"]];
                    Some(List::of(tape.pick(&all).iter().copied()))
                } else {
                    None
                },
            })
        } else {
            None
        },
        min_ttl: *tape.pick(&[None, Some(0), Some(0), Some(60)]),
        max_ttl: *tape.pick(&[None, Some(31_536_000), Some(1), Some(0)]),
    }
}

fn policy(tape: &mut Tape<'_>, id: &'static str) -> Policy {
    Policy {
        id,
        min_ttl: *tape.pick(&[0, 0, 1]),
        max_ttl: *tape.pick(&[None, Some(31_536_000), Some(1), Some(0)]),
        query_strings: *tape.pick(&[
            None,
            Some("none"),
            Some("all"),
            Some("whitelist"),
            Some("allExcept"),
        ]),
    }
}

fn tags(tape: &mut Tape<'_>, keys: &[String]) -> Vec<Tag> {
    let mut tags = Vec::new();
    if tape.chance(40) {
        let value = tape.word(&[
            "index.html",
            "index.htm",
            " /index.html ",
            "v1/index.html",
            "",
            "/",
        ]);
        tags.push(Tag {
            key: "indexDocument",
            value: value.to_owned(),
        });
    }
    for key in [
        "exceptionPaths",
        "exceptionPaths2",
        "exceptionPaths10",
        "exceptionPathsX",
    ] {
        if tape.chance(12) {
            tags.push(Tag {
                key,
                value: exception_paths(tape, keys),
            });
        }
    }
    tags
}

fn exception_paths(tape: &mut Tape<'_>, keys: &[String]) -> String {
    let mut value = String::new();
    for _ in 0..=tape.below(4) {
        let entry = match tape.below(8) {
            0..3 => {
                let key = tape.pick(keys);
                let folders = tape.below(4);
                let parts: Vec<&str> = key.split('/').take(folders).collect();
                parts.join("/")
            }
            3 | 4 => pattern_like(tape, keys),
            5 => tape.pick(keys).clone(),
            6 => tape
                .word(&[
                    "", "/", "//", "*", "*.jpg", "web/", "/img//", "/?", "a", "//a",
                ])
                .to_owned(),
            _ => {
                let length = tape.below(4);
                (0..=length).map(|_| tape.word(&HOSTILE)).collect()
            }
        };
        if tape.chance(20) {
            value.push('/');
        }
        value.push_str(&entry);
        if tape.chance(20) {
            value.push('/');
        }
        value.push_str(tape.word(&[" ", ":", ",", " : ", "\t", "\n", "\u{3000}"]));
    }
    value
}
