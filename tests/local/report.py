"""The report of `make local`, for people."""

from collections.abc import Iterator

import observe
import sample_site
from pipeline import Pipeline

VERBS = {
    "excepted": "ignored",
    "invalidate": "invalidated",
    "skip": "left alone",
    "unmatched": "left alone",
}


def lines(pipeline: Pipeline) -> Iterator[str]:
    """The whole report."""
    yield from changes(pipeline)
    for distribution in pipeline.site.distributions:
        yield from invalidations(pipeline, distribution)


def changes(pipeline: Pipeline) -> Iterator[str]:
    """Each change with its decisions and their reasons."""
    decisions = pipeline.decisions()
    yield "What became of each change, and why"
    for change in dict.fromkeys(sample_site.CHANGES):
        yield ""
        yield f"  {deed(change):<9} s3://{change.bucket}/{change.key}{times(change)}"
        yield from outcomes(pipeline, change, decisions)
    yield ""


def deed(change: sample_site.Change) -> str:
    """What was done, as a site owner would say it."""
    if change.action == "delete":
        return "delete"
    return "overwrite" if change.key in sample_site.BEFORE else "upload"


def times(change: sample_site.Change) -> str:
    """A remark on a change that was made more than once."""
    count = sample_site.CHANGES.count(change)
    return f"  ({count} times)" if count > 1 else ""


def outcomes(pipeline: Pipeline, change: sample_site.Change, decisions: list[observe.Decision]) -> Iterator[str]:
    """What the function decided on one change, each decision once."""
    found = [d for d in decisions if (d.bucket, d.key, d.kind) == (change.bucket, change.key, change.kind)]
    # If each distribution has given its reason, "no distribution serves the key" adds nothing.
    told = [d for d in found if d.distribution] or found
    for decision in dict.fromkeys(told):
        yield f"            {where(pipeline, decision)}{what(decision)}"
        yield f"              {decision.reason}"
    if not found:
        yield "            ! the function says nothing about it"


def where(pipeline: Pipeline, decision: observe.Decision) -> str:
    """The distribution a decision is about, if it is about one."""
    return f"{pipeline.site.name_of(decision.distribution)}: " if decision.distribution else ""


def what(decision: observe.Decision) -> str:
    """A decision, in a word, with its paths."""
    return f"{VERBS.get(decision.decision, decision.decision)} {', '.join(decision.paths)}".rstrip()


def invalidations(pipeline: Pipeline, distribution: str) -> Iterator[str]:
    """Each invalidation of a distribution, as CloudFront accepted it."""
    yield f"What CloudFront accepted for {distribution} ({pipeline.site.distributions[distribution]})"
    records = pipeline.invalidations(distribution)
    for record in records:
        yield ""
        yield f"  {record.id}  {record.status}  {len(record.paths)} paths"
        yield from (f"            {path}" for path in record.paths)
    if not records:
        yield "            ! nothing"
    yield ""


def faults(pipeline: Pipeline) -> Iterator[str]:
    """The problems; nothing if all is well."""
    for distribution in pipeline.site.distributions:
        expected = sample_site.expected_paths(distribution)
        recorded = pipeline.invalidated_paths(distribution)
        yield from (f"{distribution}: {path} was not invalidated" for path in sorted(expected - recorded))
        yield from (f"{distribution}: {path} should not have been invalidated" for path in sorted(recorded - expected))
