//! Behavior lists, and what they say about a path.
//!
//! Many distributions have the same list, so each different list is kept once. A path is matched
//! against all patterns at once. The patterns that match it decide what every list says.

use std::sync::LazyLock;
use std::time::Duration;

use super::interner::Interner;
use crate::distributions::error_pages::ErrorPage;
use crate::distributions::{Behavior, Distribution, Origin};
use crate::event::ChangeKind;
use crate::index::index;
use crate::path::{InvalidationPaths, ViewerPath, WildcardCause};
use crate::pattern::set::PatternIndex;
use crate::pattern::{PathPattern, Wildcards};

index! {
    /// The place of a behavior list among the different lists of an origin plan.
    ListIndex
}

index! {
    /// The place of a behavior in its list. The default behavior is the last.
    BehaviorIndex
}

/// The default behavior takes every path that no other behavior takes.
static EVERY_PATH: LazyLock<Wildcards> = LazyLock::new(|| Wildcards::new("/*"));

/// Everything that decides what a distribution does with the paths of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BehaviorList<'a> {
    /// In the order in which they are tried.
    behaviors: Vec<(PatternIndex, Effect)>,
    roles: Vec<ObjectRole<'a>>,
}

/// What a behavior does with a path that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Effect {
    /// Whether it sends the path to the origin in question.
    sends_here: bool,
    caches: bool,
    query_strings: bool,
}

/// What a behavior list says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The behavior that takes the path: the first whose pattern matches.
    pub behavior: BehaviorIndex,
    pub ruling: Ruling,
}

/// Whether a path is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    SentElsewhere,
    NotCached,
    Invalidate { query_strings: bool },
}

/// For each pattern, the places where it stands in behavior lists.
#[derive(Debug)]
pub(super) struct PatternPlaces {
    lists: usize,
    places: Vec<Vec<PatternPlace>>,
}

#[derive(Clone, Copy, Debug)]
struct PatternPlace {
    list: ListIndex,
    behavior: BehaviorIndex,
    effect: Effect,
}

/// What became of one key at all distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub invalidated: bool,
    pub not_cached: bool,
}

/// A role in which CloudFront serves an object at another path than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ObjectRole<'a> {
    /// The object at this viewer path is the default root object: it is served for `/`.
    DefaultRootObject(&'a str),
    /// An object of this name is an index document: it is served for its folder.
    IndexDocument(&'a str),
    /// The object is a custom error page, which may be served for any path.
    ErrorPage(&'a ErrorPage, PageObject<'a>),
}

/// Which object CloudFront gets when it asks for the path of an error page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum PageObject<'a> {
    /// The object of that name.
    Named,
    /// The page is `/`, so the default root object at this viewer path.
    DefaultRootObject(&'a str),
    /// The page is a folder, so its index document of this name.
    IndexDocument(&'a str),
}

impl Outcome {
    pub(super) fn of(rulings: impl Iterator<Item = Ruling>) -> Self {
        let mut outcome = Self::default();
        for ruling in rulings {
            outcome.invalidated |= matches!(ruling, Ruling::Invalidate { .. });
            outcome.not_cached |= ruling == Ruling::NotCached;
        }
        outcome
    }

    pub(super) fn add(&mut self, other: Self) {
        self.invalidated |= other.invalidated;
        self.not_cached |= other.not_cached;
    }
}

impl Effect {
    fn new(behavior: &Behavior, origin: &Origin) -> Self {
        Self {
            sends_here: behavior.sends_to(origin),
            caches: behavior.caching.caches(),
            query_strings: behavior.query_strings,
        }
    }

    fn ruling(self, kind: ChangeKind) -> Ruling {
        if !self.sends_here {
            Ruling::SentElsewhere
        } else if kind == ChangeKind::Created && !self.caches {
            Ruling::NotCached
        } else {
            let query_strings = self.query_strings;
            Ruling::Invalidate { query_strings }
        }
    }
}

impl<'a> BehaviorList<'a> {
    /// The behaviors of a distribution, as they treat paths of one of its origins.
    pub(super) fn new(
        distribution: &'a Distribution,
        origin: &Origin,
        index_document: Option<&'a str>,
        debounce: Duration,
        patterns: &mut Interner<&'a Wildcards>,
    ) -> Self {
        let behaviors = distribution.behaviors().map(|behavior| {
            let pattern = behavior.pattern.as_ref();
            let pattern = pattern.map_or(&*EVERY_PATH, PathPattern::wildcards);
            let pattern = PatternIndex::new(patterns.place(pattern));
            (pattern, Effect::new(behavior, origin))
        });
        Self {
            behaviors: behaviors.collect(),
            roles: roles(distribution, index_document, debounce),
        }
    }

    /// What the list says about a path that these patterns match, and no others.
    ///
    /// # Panics
    /// If no behavior matches. The default behavior matches every path.
    pub(super) fn finding(&self, matching: &[PatternIndex], kind: ChangeKind) -> Finding {
        let mut behaviors = self.behaviors.iter().enumerate();
        match behaviors.find(|(_, (pattern, _))| matching.contains(pattern)) {
            Some((behavior, (_, effect))) => Finding {
                behavior: BehaviorIndex::new(behavior),
                ruling: effect.ruling(kind),
            },
            None => unreachable!("a default behavior does not match"),
        }
    }

    /// Its rulings on many paths: for each path the patterns that match it, of so many patterns in all, and no
    /// others do.
    ///
    /// # Panics
    /// If no behavior matches. The default behavior matches every path.
    pub(super) fn rulings<'c>(
        &self,
        patterns: usize,
        paths: impl Iterator<Item = (&'c [PatternIndex], ChangeKind)>,
    ) -> Vec<Ruling> {
        let mut first = vec![u32::MAX; patterns];
        for ((pattern, _), place) in self.behaviors.iter().zip(0..) {
            let first = &mut first[pattern.get()];
            *first = place.min(*first);
        }
        let rulings = paths.map(|(matching, kind)| {
            let places = matching.iter().map(|pattern| first[pattern.get()]);
            let behavior = places.min().and_then(|it| self.behaviors.get(it as usize));
            match behavior {
                Some((_, effect)) => effect.ruling(kind),
                None => unreachable!("a default behavior does not match"),
            }
        });
        rulings.collect()
    }

    pub(super) fn roles(&self) -> &[ObjectRole<'a>] {
        &self.roles
    }

    pub(super) fn has(&self, role: ObjectRole<'_>) -> bool {
        self.roles.contains(&role)
    }
}

impl PatternPlaces {
    /// How many patterns there are.
    pub(super) fn patterns(&self) -> usize {
        self.places.len()
    }

    pub(super) fn new(lists: &[BehaviorList<'_>], patterns: usize) -> Self {
        let mut places = vec![Vec::new(); patterns];
        for (list, BehaviorList { behaviors, .. }) in lists.iter().enumerate() {
            for (behavior, (pattern, effect)) in behaviors.iter().enumerate() {
                places[pattern.get()].push(PatternPlace {
                    list: ListIndex::new(list),
                    behavior: BehaviorIndex::new(behavior),
                    effect: *effect,
                });
            }
        }
        let lists = lists.len();
        Self { lists, places }
    }

    /// The ruling of each list on a path that these patterns match, and no others.
    ///
    /// # Panics
    /// If a list has no behavior that matches. Its default behavior matches every path.
    pub(super) fn rulings(
        &self,
        matching: &[PatternIndex],
        kind: ChangeKind,
    ) -> impl Iterator<Item = Ruling> {
        let first = self.first_behaviors(matching).into_iter();
        first.map(move |place| match place {
            Some(place) => place.effect.ruling(kind),
            None => unreachable!("a default behavior does not match"),
        })
    }

    /// In each list, the first behavior whose pattern is one of these.
    fn first_behaviors(&self, matching: &[PatternIndex]) -> Vec<Option<PatternPlace>> {
        let mut first: Vec<Option<PatternPlace>> = vec![None; self.lists];
        let places = matching.iter().flat_map(|it| &self.places[it.get()]);
        for place in places {
            let first = &mut first[place.list.get()];
            if first.is_none_or(|first| place.behavior < first.behavior) {
                *first = Some(*place);
            }
        }
        first
    }
}

/// The roles that objects of an origin may have.
fn roles<'a>(
    distribution: &'a Distribution,
    index_document: Option<&'a str>,
    debounce: Duration,
) -> Vec<ObjectRole<'a>> {
    let root = distribution.default_root_object.as_deref();
    let mut roles = Vec::new();
    roles.extend(root.map(ObjectRole::DefaultRootObject));
    roles.extend(index_document.map(ObjectRole::IndexDocument));
    for page in distribution
        .error_caching
        .pages_cached_longer_than(debounce)
    {
        let of_page = |object| ObjectRole::ErrorPage(page, object);
        roles.push(of_page(PageObject::Named));
        let root = root.filter(|_| page.path == "/");
        roles.extend(root.map(PageObject::DefaultRootObject).map(of_page));
        let index_document = index_document.filter(|_| page.path.ends_with('/'));
        roles.extend(index_document.map(PageObject::IndexDocument).map(of_page));
    }
    roles
}

impl ObjectRole<'_> {
    /// The path that is asked for when the object at `path` is served in this role; none if that object
    /// does not have it.
    pub(super) fn asked_path(self, path: ViewerPath<'_>) -> Option<ViewerPath<'_>> {
        match self {
            Self::DefaultRootObject(object)
            | Self::ErrorPage(_, PageObject::DefaultRootObject(object)) => {
                (path.as_str() == object).then_some(ViewerPath::ROOT)
            }
            Self::IndexDocument(name) => path.folder_of(name),
            Self::ErrorPage(page, PageObject::IndexDocument(name)) => path
                .folder_of(name)
                .filter(|folder| folder.as_str() == page.path),
            Self::ErrorPage(page, PageObject::Named) => {
                (path.as_str() == page.path).then_some(path)
            }
        }
    }

    /// Whether the behavior that takes the object's own path decides. CloudFront puts the default root
    /// object in place of `/` before it looks for a behavior. A folder is asked for by its own path.
    pub(super) fn is_decided_by_own_path(self) -> bool {
        !matches!(
            self,
            Self::IndexDocument(_) | Self::ErrorPage(_, PageObject::IndexDocument(_))
        )
    }

    /// The ruling for this role, if this is the ruling of the behavior that decides.
    ///
    /// An error page is cached with the other paths, whether or not its own path is cached.
    pub(super) fn ruling(self, ruling: Ruling) -> Ruling {
        match (self, ruling) {
            (Self::ErrorPage(..), Ruling::NotCached) => Ruling::Invalidate {
                query_strings: false,
            },
            _ => ruling,
        }
    }

    /// The paths that clear what is cached for this role.
    pub(super) fn invalidation_paths(
        self,
        asked: ViewerPath<'_>,
        query_strings: bool,
    ) -> InvalidationPaths<'_> {
        match self {
            Self::DefaultRootObject(_) | Self::IndexDocument(_) => {
                asked.invalidation_paths(query_strings)
            }
            // Any path may be missing, and the default behavior takes those that nothing else takes.
            Self::ErrorPage(..) => InvalidationPaths::everything(WildcardCause::ErrorPage),
        }
    }
}
