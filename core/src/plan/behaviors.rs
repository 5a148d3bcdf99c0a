//! All that a distribution decides by at one origin, and what follows for a path.

use std::sync::LazyLock;

use super::interner::Interner;
use crate::distributions::{Behavior, Distribution, Origin};
use crate::event::ChangeKind;
use crate::path::ViewerPath;
use crate::pattern::{PathPattern, Wildcards};

/// What the default behavior takes: all that comes to it, and it is the last.
static ALL_PATHS: LazyLock<Wildcards> = LazyLock::new(|| Wildcards::new("/*"));

/// All that a distribution decides by, at one origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Behaviors<'a> {
    /// The numbers of their patterns, in the order in which they are tried.
    listed: Vec<(u32, Treatment)>,
    default_root_object: Option<&'a str>,
    index_document: Option<&'a str>,
}

/// What a behavior does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Treatment {
    sends_here: bool,
    caches: bool,
    query_strings: bool,
}

/// Where each pattern stands, of many lists of behaviors.
#[derive(Debug)]
pub(super) struct ByPattern {
    /// How many lists there are.
    behaviors: usize,
    by_pattern: Vec<Vec<Listed>>,
}

/// A pattern in a list of behaviors.
#[derive(Clone, Copy, Debug)]
struct Listed {
    /// Which list.
    behaviors: usize,
    place: usize,
    treatment: Treatment,
}

/// What follows for each list of behaviors.
#[derive(Debug)]
pub(super) struct Ruling {
    answers: Vec<Answer>,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    SentElsewhere,
    NotCached,
    Invalidate { query_strings: bool },
}

/// A setting of a distribution that makes a further path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// The path of the default root object: it is served for `/`.
    RootObject(&'a str),
    /// The name of index documents: they are served for their folders.
    IndexDocument(&'a str),
}

/// What became of one key at all distributions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub invalidated: bool,
    pub not_cached: bool,
}

impl Outcome {
    pub(super) fn add(&mut self, other: Self) {
        self.invalidated |= other.invalidated;
        self.not_cached |= other.not_cached;
    }
}

impl Treatment {
    fn new(behavior: &Behavior, origin: &Origin) -> Self {
        Self {
            sends_here: behavior.sends_to(origin),
            caches: behavior.caching.caches(),
            query_strings: behavior.query_strings,
        }
    }

    fn answer(self, kind: ChangeKind) -> Answer {
        if !self.sends_here {
            Answer::SentElsewhere
        } else if kind == ChangeKind::Created && !self.caches {
            Answer::NotCached
        } else {
            let query_strings = self.query_strings;
            Answer::Invalidate { query_strings }
        }
    }
}

impl<'a> Behaviors<'a> {
    /// The behaviors of a distribution, as they treat what comes from an origin.
    pub(super) fn new(
        distribution: &'a Distribution,
        origin: &Origin,
        index_document: Option<&'a str>,
        patterns: &mut Interner<&'a Wildcards>,
    ) -> Self {
        let listed = distribution.behaviors().map(|behavior| {
            let pattern = behavior.pattern.as_ref();
            let pattern = pattern.map_or(&*ALL_PATHS, PathPattern::wildcards);
            (patterns.index(pattern), Treatment::new(behavior, origin))
        });
        Self {
            listed: listed.collect(),
            default_root_object: distribution.default_root_object.as_deref(),
            index_document,
        }
    }

    /// What makes further paths.
    pub(super) fn names(&self) -> impl Iterator<Item = Name<'a>> + use<'a> {
        let root_object = self.default_root_object.map(Name::RootObject);
        let index_document = self.index_document.map(Name::IndexDocument);
        root_object.into_iter().chain(index_document)
    }

    pub(super) fn has(&self, name: Name<'_>) -> bool {
        self.names().any(|own| own == name)
    }
}

impl ByPattern {
    pub(super) fn new(behaviors: &[Behaviors<'_>], patterns: usize) -> Self {
        let mut by_pattern = vec![Vec::new(); patterns];
        for (index, behaviors) in behaviors.iter().enumerate() {
            for (place, (pattern, treatment)) in behaviors.listed.iter().enumerate() {
                if let Some(listed) = by_pattern.get_mut(*pattern as usize) {
                    listed.push(Listed {
                        behaviors: index,
                        place,
                        treatment: *treatment,
                    });
                }
            }
        }
        Self {
            behaviors: behaviors.len(),
            by_pattern,
        }
    }

    /// For each list of behaviors the answer of the first whose pattern matches: one does.
    fn answers(&self, matching: &[u32], kind: ChangeKind) -> Vec<Answer> {
        let mut first: Vec<Option<&Listed>> = vec![None; self.behaviors];
        let listed = matching
            .iter()
            .filter_map(|pattern| self.by_pattern.get(*pattern as usize));
        for listed in listed.flatten() {
            if let Some(first) = first.get_mut(listed.behaviors)
                && first.is_none_or(|first| listed.place < first.place)
            {
                *first = Some(listed);
            }
        }
        let answer = |listed: &Listed| listed.treatment.answer(kind);
        let answers = first.into_iter();
        answers
            .map(|first| first.map_or(Answer::SentElsewhere, answer))
            .collect()
    }
}

impl Ruling {
    /// What follows if these patterns match, and no others.
    pub(super) fn new(behaviors: &ByPattern, matching: &[u32], kind: ChangeKind) -> Self {
        let answers = behaviors.answers(matching, kind);
        let is_invalidate = |answer: &Answer| matches!(answer, Answer::Invalidate { .. });
        let outcome = Outcome {
            invalidated: answers.iter().any(is_invalidate),
            not_cached: answers.contains(&Answer::NotCached),
        };
        Self { answers, outcome }
    }

    /// Whether the path is to be invalidated for this list of behaviors, and if so, whether with
    /// query strings.
    pub(super) fn query_strings(&self, behaviors: usize) -> Option<bool> {
        match self.answers.get(behaviors)? {
            Answer::Invalidate { query_strings } => Some(*query_strings),
            Answer::SentElsewhere | Answer::NotCached => None,
        }
    }
}

impl Name<'_> {
    /// The further path at which the object of this path is cached.
    pub(super) fn path(self, path: ViewerPath<'_>) -> Option<ViewerPath<'_>> {
        match self {
            Name::RootObject(object) => (path.as_str() == object).then_some(ViewerPath::ROOT),
            Name::IndexDocument(name) => path.folder_of(name),
        }
    }
}
