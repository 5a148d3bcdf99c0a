//! S3 and CloudFront, as far as viewers can tell: one key of one bucket, served by one distribution.
//!
//! Slow, and so simple that it can be checked by reading it. It shares no code with the product. A cache is
//! the set of all answers that anybody may have made CloudFront keep: whoever wants to may ask for any path
//! at any moment, so every answer that the origin gave at some moment since the path was cleared is in it.

/// In seconds since 1970.
pub type Time = i64;

pub const HOUR: Time = 3_600;
pub const DAY: Time = 24 * HOUR;

/// Longer than any history.
const FOR_EVER: Time = 1 << 40;

/// What viewers get. That `mtime` and `Last-Modified` differ is none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: char,
    pub headers: u8,
}

impl Answer {
    fn error(status: u16) -> Self {
        Self {
            status,
            body: '-',
            headers: 0,
        }
    }

    fn page(body: char) -> Self {
        Self {
            status: 200,
            body,
            headers: 0,
        }
    }

    pub fn is_error(self) -> bool {
        self.status >= 400
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Standard,
    InfrequentAccess,
    /// S3 does not answer before it is restored.
    Archive,
    /// S3 does not answer while it is archived.
    Intelligent,
}

/// What somebody uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub body: char,
    /// Content-Type, Cache-Control, or metadata: viewers get them.
    pub headers: u8,
    /// What a tool notes for itself.
    pub mtime: u8,
    pub tags: u8,
    pub class: Class,
    /// By an ACL.
    pub private: bool,
    /// Encrypted with a key of KMS: the ETag says nothing.
    pub kms: bool,
    /// In parts: its time is that of the begin.
    pub multipart: bool,
    /// From another bucket: its time is that of the original.
    pub replica: bool,
}

pub const PLAIN: Object = Object {
    body: 'A',
    headers: 0,
    mtime: 0,
    tags: 0,
    class: Class::Standard,
    private: false,
    kms: false,
    multipart: false,
    replica: false,
};

/// A version's id; 0 is `null`.
pub type Id = usize;

/// A version, or a delete marker.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub id: Id,
    /// None for a delete marker.
    pub object: Option<Object>,
    /// What S3 says and goes by. Not always when it came.
    pub created: Time,
    /// When another one took its place.
    pub noncurrent_since: Option<Time>,
    /// Whether S3 has archived it, of the class that does so.
    pub is_archived: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    Never,
    Enabled,
    Suspended,
}

/// What S3 tells.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Created, or else deleted.
    pub is_created: bool,
    pub id: Id,
    pub time: Time,
    /// Whether something was removed for good, so that no list tells of it.
    pub leaves_no_trace: bool,
}

#[derive(Clone, Debug)]
pub struct Bucket {
    /// The newest first.
    pub versions: Vec<Version>,
    pub versioning: Versioning,
    pub owner_enforced: bool,
    /// Whether a policy forbids to read what is tagged 1.
    pub forbids_tagged: bool,
    last_id: Id,
}

impl Bucket {
    fn new_id(&mut self) -> Id {
        match self.versioning {
            Versioning::Enabled => {
                self.last_id += 1;
                self.last_id
            }
            Versioning::Never | Versioning::Suspended => 0,
        }
    }

    /// Puts a version where its time belongs.
    fn insert(&mut self, version: Version, now: Time) {
        if version.id == 0 {
            self.versions.retain(|other| other.id != 0);
        }
        let newer = |other: &Version| other.created > version.created;
        let place = self.versions.iter().take_while(|it| newer(it)).count();
        self.versions.insert(place, version);
        for version in &mut self.versions[1..] {
            version.noncurrent_since.get_or_insert(now);
        }
        if place > 0 {
            self.versions[place].noncurrent_since = Some(now);
        }
    }

    fn put(&mut self, object: Object, now: Time, created: Time) -> Event {
        let id = self.new_id();
        self.insert(
            Version {
                id,
                object: Some(object),
                created,
                noncurrent_since: None,
                is_archived: false,
            },
            now,
        );
        Event {
            is_created: true,
            id,
            time: now,
            leaves_no_trace: false,
        }
    }

    fn delete(&mut self, now: Time) -> Event {
        let id = self.new_id();
        if self.versioning == Versioning::Never {
            self.versions.clear();
        } else {
            self.insert(
                Version {
                    id,
                    object: None,
                    created: now,
                    noncurrent_since: None,
                    is_archived: false,
                },
                now,
            );
        }
        Event {
            is_created: false,
            id,
            time: now,
            leaves_no_trace: self.versioning == Versioning::Never,
        }
    }

    fn remove(&mut self, place: usize, now: Time) -> Event {
        let removed = self.versions.remove(place);
        if let Some(current) = self.versions.first_mut() {
            current.noncurrent_since = None;
        }
        Event {
            is_created: false,
            id: removed.id,
            time: now,
            leaves_no_trace: true,
        }
    }

    /// S3 archives what it did not for a while, and restores what is archived.
    pub fn archive(&mut self, now: Time) {
        for version in &mut self.versions {
            version.is_archived = !version.is_archived && now - version.created > 2 * HOUR;
        }
    }

    /// Lifecycle removes what has not been current for a day, and says so only of `null`.
    fn expire(&mut self, now: Time) -> Option<Event> {
        let is_old = |it: &Version| it.noncurrent_since.is_some_and(|since| now - since >= DAY);
        let null = self.versions.iter().any(|it| it.id == 0 && is_old(it));
        self.versions.retain(|it| !is_old(it));
        // A delete marker without versions below goes too.
        if let [only] = self.versions.as_slice()
            && only.object.is_none()
            && now - only.created >= DAY
        {
            self.versions.clear();
        }
        null.then_some(Event {
            is_created: false,
            id: 0,
            time: now,
            leaves_no_trace: true,
        })
    }
}

/// A distribution's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// It changes with each change.
    pub e_tag: u32,
    pub is_enabled: bool,
    /// Whether its origin is the bucket; before, it was another one, with other objects.
    pub is_ours: bool,
    pub is_website: bool,
    pub is_group: bool,
    pub has_function: bool,
    /// Whether S3 says 404, or hides that with 403.
    pub says_404: bool,
    pub missing_ttl: Time,
    pub server_error_ttl: Time,
}

/// The product that invalidates each path, and the one that skips some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Exact,
    Skipping,
}

/// An answer in a cache, and when it expires.
#[derive(Clone, Copy, Debug)]
struct Cached {
    answer: Answer,
    until: Time,
    /// The flush before which somebody asked for it last.
    before: u32,
}

/// A path under which the object is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Own,
    /// Something else is served there if there is no object.
    Folder,
}

const PATHS: [Path; 2] = [Path::Own, Path::Folder];

#[derive(Clone, Debug)]
pub struct World {
    pub now: Time,
    pub bucket: Bucket,
    pub config: Config,
    /// The configuration that some edges still have.
    pub old_config: Config,
    /// When all edges have the new one.
    pub deployed_at: Time,
    pub has_folder: bool,
    /// The number of the next flush.
    pub flush: u32,
    /// For each side and path.
    caches: [[Vec<Cached>; 2]; 2],
}

impl World {
    /// A world in which caches hold what nobody knows.
    pub fn new(now: Time, config: Config, versioning: Versioning, has_folder: bool) -> Self {
        let unknown = vec![Cached {
            answer: Answer::page('?'),
            until: FOR_EVER,
            before: 0,
        }];
        let of_side = || [unknown.clone(), unknown.clone()];
        Self {
            now,
            bucket: Bucket {
                versions: Vec::new(),
                versioning,
                owner_enforced: true,
                forbids_tagged: true,
                last_id: 0,
            },
            config,
            old_config: config,
            deployed_at: 0,
            has_folder,
            flush: 0,
            caches: [of_side(), of_side()],
        }
    }

    fn paths(&self) -> &'static [Path] {
        match self.has_folder {
            true => &PATHS,
            false => &PATHS[..1],
        }
    }

    /// Lets time pass in which nothing changes.
    pub fn pass_until(&mut self, now: Time) {
        self.cache_answers(now);
        self.now = now;
    }

    /// What is answered from now until then may be cached until then.
    fn cache_answers(&mut self, then: Time) {
        for path in self.paths() {
            self.cache(self.config, *path, then);
            if self.now < self.deployed_at {
                self.cache(self.old_config, *path, then.min(self.deployed_at));
            }
        }
    }

    fn cache(&mut self, config: Config, path: Path, at: Time) {
        if config.is_enabled {
            let answer = self.answer(&config, path);
            self.keep(path, answer, at + ttl(&config, answer));
        }
    }

    fn keep(&mut self, path: Path, answer: Answer, until: Time) {
        let before = self.flush;
        for side in &mut self.caches {
            let cache = &mut side[path as usize];
            match cache.iter_mut().find(|cached| cached.answer == answer) {
                Some(cached) => {
                    cached.until = cached.until.max(until);
                    cached.before = before;
                }
                None => cache.push(Cached {
                    answer,
                    until,
                    before,
                }),
            }
        }
    }

    pub fn put(&mut self, object: Object, created: Time) -> Event {
        self.cache_answers(self.now);
        self.bucket.put(object, self.now, created)
    }

    pub fn delete(&mut self) -> Event {
        self.cache_answers(self.now);
        self.bucket.delete(self.now)
    }

    pub fn remove(&mut self, place: usize) -> Event {
        self.cache_answers(self.now);
        self.bucket.remove(place, self.now)
    }

    pub fn expire(&mut self) -> Option<Event> {
        self.cache_answers(self.now);
        self.bucket.expire(self.now)
    }

    /// Changes something of the bucket that makes no event.
    pub fn change_bucket(&mut self, change: impl FnOnce(&mut Bucket)) {
        self.cache_answers(self.now);
        change(&mut self.bucket);
    }

    /// Changes the configuration. It takes some time until all edges have it.
    pub fn configure(&mut self, deploying: Time, change: impl FnOnce(&mut Config)) {
        self.cache_answers(self.now);
        self.old_config = self.config;
        change(&mut self.config);
        self.config.e_tag += 1;
        self.deployed_at = self.now + deploying;
    }

    /// S3 is too busy for a moment.
    pub fn be_busy(&mut self) {
        self.cache_answers(self.now);
        for path in self.paths() {
            let config = self.config;
            if config.is_enabled {
                let answer = match config.is_group {
                    true => Answer::page('S'),
                    false => Answer::error(503),
                };
                self.keep(*path, answer, self.now + ttl(&config, answer));
            }
        }
    }

    /// A flush begins. Returns its number.
    pub fn begin_flush(&mut self) -> u32 {
        self.cache_answers(self.now);
        self.flush += 1;
        self.flush - 1
    }

    /// CloudFront clears the object's paths.
    pub fn clear(&mut self, side: Side) {
        self.cache_answers(self.now);
        for cache in &mut self.caches[side as usize] {
            cache.clear();
        }
    }

    /// CloudFront clears the object's paths of what was asked for before a flush. What was asked for later is
    /// cleared as well, but that is luck: it is no business of that flush.
    pub fn clear_before(&mut self, side: Side, flush: u32) {
        self.cache_answers(self.now);
        for cache in &mut self.caches[side as usize] {
            cache.retain(|cached| cached.before > flush);
        }
    }

    /// What viewers would get if nothing were cached.
    fn answer(&self, config: &Config, path: Path) -> Answer {
        if !config.is_ours {
            return Answer::page('O');
        }
        let of_object = self.of_object();
        let missing = Answer::error(if config.says_404 { 404 } else { 403 });
        match of_object {
            Some(Ok(page)) => page,
            _ if config.is_group => Answer::page('S'),
            Some(Err(status)) => Answer::error(status),
            None if path == Path::Folder => Answer::page('L'),
            None if config.has_function => Answer::page('F'),
            None => missing,
        }
    }

    /// What S3 answers; nothing if there is no object.
    fn of_object(&self) -> Option<Result<Answer, u16>> {
        let bucket = &self.bucket;
        let current = bucket.versions.first()?;
        let object = current.object?;
        let is_archived = match object.class {
            Class::Standard | Class::InfrequentAccess => false,
            Class::Archive => true,
            Class::Intelligent => current.is_archived,
        };
        let is_private = object.private && !bucket.owner_enforced;
        let is_forbidden = object.tags == 1 && bucket.forbids_tagged;
        Some(if is_archived || is_private || is_forbidden {
            Err(403)
        } else {
            Ok(Answer {
                status: 200,
                body: object.body,
                headers: object.headers,
            })
        })
    }

    /// What a viewer can get now from the skipping product that is stale, and that nobody can get from the
    /// exact one. `grace` is how long errors may last.
    pub fn stale(&self, grace: Time) -> Option<(Path, Answer)> {
        if !self.config.is_enabled || self.now < self.deployed_at {
            return None;
        }
        let of = |side: Side, path: Path| {
            let cache = self.caches[side as usize][path as usize].iter();
            cache.filter(|cached| cached.until > self.now)
        };
        for path in self.paths() {
            let fresh = self.answer(&self.config, *path);
            for cached in of(Side::Skipping, *path) {
                let is_stale = cached.answer != fresh;
                let mut exact = of(Side::Exact, *path);
                let is_in_exact = exact.any(|other| other.answer == cached.answer);
                let is_over_soon = cached.answer.is_error() && cached.until <= self.now + grace;
                if is_stale && !is_in_exact && !is_over_soon {
                    return Some((*path, cached.answer));
                }
            }
        }
        None
    }
}

/// For how long CloudFront keeps an answer.
fn ttl(config: &Config, answer: Answer) -> Time {
    match answer.status {
        503 => config.server_error_ttl,
        // The error document of a website has headers of its own.
        403 | 404 if config.is_website => FOR_EVER,
        403 | 404 => config.missing_ttl,
        _ => FOR_EVER,
    }
}
