//! Which invalidations of the targets have cleared an object, whoever made them.

use aws_sdk_cloudfront::Client;
use futures_util::stream::{self, StreamExt};
use invalidator_core::path::InvalidationPath;
use invalidator_core::service_error::{ServiceError, TIMEOUT};
use invalidator_core::target::Target;
use invalidator_core::text::Lines;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::logged::shown;
use crate::cause::Cause;
use crate::invalidations::{Invalidation, Invalidations};

/// So many targets are looked at. The allowed rates of the calls are low.
const MAX_TARGETS: usize = 10;

/// So many invalidations of a target are looked at, the newest.
const MAX_LOOKED: usize = 20;

/// So many that cleared the object are enough.
const MAX_FOUND: usize = 3;

/// How many targets are looked at at once.
const CONCURRENCY: usize = 4;

/// What was found at a target.
#[derive(Debug, Serialize)]
pub struct Looked {
    pub target: Target,
    /// How many invalidations were looked at, from the newest.
    pub looked: usize,
    /// When the oldest of them was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Those that cleared the object, the newest first.
    pub cleared: Vec<Cleared>,
    /// Why not more was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An invalidation that cleared it.
#[derive(Debug, Serialize)]
pub struct Cleared {
    pub invalidation: String,
    pub time: String,
    pub status: String,
    /// Who made it, as far as its caller reference says.
    pub cause: String,
    /// The path that cleared it.
    pub by: String,
    /// The path of the object.
    pub path: InvalidationPath<'static>,
}

/// Looks at the newest invalidations of each target for one that clears its paths.
pub async fn look(
    client: &Client,
    targets: &[(Target, Vec<InvalidationPath<'static>>)],
    until: Instant,
) -> Vec<Looked> {
    let looks = targets
        .iter()
        .take(MAX_TARGETS)
        .map(|(target, paths)| async move {
            let mut looked = Looked {
                target: target.clone(),
                looked: 0,
                since: None,
                cleared: Vec::new(),
                problem: None,
            };
            let late =
                || ServiceError::of("CloudFront GetInvalidation", TIMEOUT, "it took too long");
            let ended = timeout_at(until, at_target(client, paths, &mut looked)).await;
            looked.problem = ended
                .unwrap_or_else(|_| Err(late()))
                .err()
                .map(|it| it.to_string());
            looked
        });
    let mut all: Vec<Looked> = stream::iter(looks).buffered(CONCURRENCY).collect().await;
    if targets.len() > MAX_TARGETS {
        let more = &targets[MAX_TARGETS..];
        all.extend(more.iter().map(|(target, _)| Looked {
            target: target.clone(),
            looked: 0,
            since: None,
            cleared: Vec::new(),
            problem: Some(format!("not looked at: only {MAX_TARGETS} are")),
        }));
    }
    all
}

async fn at_target(
    client: &Client,
    paths: &[InvalidationPath<'static>],
    looked: &mut Looked,
) -> Result<(), ServiceError> {
    let target = looked.target.clone();
    let invalidations = Invalidations::new(client, &target);
    for id in invalidations.newest().await?.into_iter().take(MAX_LOOKED) {
        if looked.cleared.len() >= MAX_FOUND {
            break;
        }
        let invalidation = invalidations.read(id).await?;
        looked.looked += 1;
        looked.since = Some(shown(invalidation.created));
        looked.cleared.extend(cleared(invalidation, paths));
    }
    Ok(())
}

/// What clears any of the paths in an invalidation, if something does.
fn cleared(invalidation: Invalidation, paths: &[InvalidationPath<'static>]) -> Option<Cleared> {
    let found = invalidation.paths.iter().find_map(|by| {
        let path = paths.iter().find(|path| by.clears(path))?;
        Some((by, path.clone()))
    });
    let (by, path) = found?;
    let status = match invalidation.is_complete {
        true => "completed",
        false => "in progress",
    };
    Some(Cleared {
        time: shown(invalidation.created),
        status: status.to_owned(),
        cause: Cause::of(&invalidation.reference).to_string(),
        by: by.to_string(),
        path,
        invalidation: invalidation.id,
    })
}

impl Looked {
    pub fn add_to(&self, lines: &mut Lines) {
        let Self {
            target,
            looked,
            since,
            ..
        } = self;
        match (since, self.cleared.is_empty()) {
            (Some(since), true) => lines.line(format_args!(
                "  {target}: none of the {looked} newest invalidations, since {since}, cleared it"
            )),
            (Some(_), false) => {
                lines.line(format_args!("  {target}: cleared, the newest first, by"));
            }
            (None, _) if self.problem.is_none() => {
                lines.line(format_args!("  {target}: there are no invalidations"));
            }
            (None, _) => {}
        }
        for Cleared {
            invalidation,
            time,
            status,
            cause,
            by,
            path,
        } in &self.cleared
        {
            let how = match by == path.as_str() {
                true => by.clone(),
                false => format!("{by}, which covers {path}"),
            };
            lines.line(format_args!(
                "    {time}  {invalidation}, {status}: {how} ({cause})"
            ));
        }
        if let Some(problem) = &self.problem {
            lines.line(format_args!("  {target}: {problem}"));
        }
    }
}
