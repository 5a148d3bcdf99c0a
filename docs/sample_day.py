"""A day of made-up numbers for the picture of the dashboard, every quarter of an hour.

Editors work from eight to six. At nine a new release of the site is published. From one to two CloudFront is busy, so
sets wait, and an alarm is raised. At half past five CloudFront rejects twelve paths of a distribution. At eight in the
evening two events cannot be buffered.
"""

import math

SLOTS = 96
HOUR = 4  # slots
RELEASE, BUSY_FROM, BUSY_TO, REJECTED, FAILED = 9 * HOUR, 13 * HOUR, 14 * HOUR, 70, 80

Series = list[float]


def over_the_day(value) -> Series:
    """A value for each slot."""
    return [float(value(slot)) for slot in range(SLOTS)]


def changes(slot: int) -> float:
    """How many objects change in a quarter of an hour."""
    at_work = max(0.0, math.sin((slot / HOUR - 7.5) / 11 * math.pi)) if 7.5 < slot / HOUR < 18.5 else 0.0
    return round(4 + 90 * at_work + 18 * at_work * math.sin(slot * 2.1) + (260 if slot == RELEASE else 0))


def minutes_late(slot: int) -> float:
    """For how many minutes sets have waited: while CloudFront is busy, and until all are accepted."""
    if BUSY_FROM <= slot <= BUSY_TO:
        return 15.0 * (slot - BUSY_FROM)
    return 20.0 if slot == BUSY_TO + 1 else 0.0


def only(at: int, count: float) -> Series:
    """Something that happens once."""
    return over_the_day(lambda slot: count if slot == at else 0)


def part(share: float) -> Series:
    """A share of the changes."""
    return over_the_day(lambda slot: round(share * changes(slot)))


def is_busy(slot: int) -> bool:
    """Whether CloudFront accepts nothing."""
    return BUSY_FROM <= slot <= BUSY_TO


def accepted(slot: int) -> float:
    """How many paths CloudFront accepts: after it was busy, all that waited."""
    if is_busy(slot):
        return 0
    waited = sum(changes(earlier) for earlier in range(BUSY_FROM, BUSY_TO + 1)) if slot == BUSY_TO + 1 else 0
    return round(0.9 * (changes(slot) + waited))


def ordered(slot: int) -> float:
    """How many paths the month has had so far."""
    return 410 + sum(map(accepted, range(slot + 1)))


def spent(slot: int) -> float:
    """What they cost in USD: a thousand are free."""
    return 0.005 * max(0, ordered(slot) - 1_000)


def waiting(slot: int) -> float:
    """How many sets wait for CloudFront."""
    return 3 * (slot - BUSY_FROM + 1) if is_busy(slot) else 0


QUIET = over_the_day(lambda _: 0)
FLUSHES = over_the_day(lambda slot: 3 + min(40, changes(slot) / 3))

# By the name of the metric; with a queue or a statistic, where they make a difference.
DAY: dict[str, Series] = {
    "ChangesReceived": part(1.0),
    "ChangesExcepted": part(0.3),
    "RecordsUnreadable": QUIET,
    "TagsUnreadable": only(FAILED, 3),
    "TagsChanged": only(RELEASE, 1),
    "EventsSkipped": over_the_day(lambda slot: 1 if slot % 24 == 7 else 0),
    "TicksThrottled": only(RELEASE, 4),
    "OldestChange": over_the_day(lambda slot: 60_000 * minutes_late(slot)),
    "FlushesFinished": FLUSHES,
    "FlushesFailed": only(FAILED, 1),
    "NotLive": QUIET,
    "MessagesDrained": part(0.3),
    "ChangesDrained": part(0.7),
    "MessagesUnreadable": QUIET,
    "TargetsUnread": only(FAILED, 1),
    "Keys": part(0.6),
    "KeysUnmatched": part(0.05),
    "KeysNotCached": part(0.1),
    "PathsPlanned": part(0.9),
    "SetsEnqueued": over_the_day(lambda slot: FLUSHES[slot] / 2),
    "DryRunPaths": QUIET,
    "WildcardsRationed": QUIET,
    "WholeDistributionByName": QUIET,
    "WholeDistributionByErrorPage": only(RELEASE, 2),
    "PathsAccepted": over_the_day(accepted),
    "PathsAccepted E1WWWEXAMPLE01": over_the_day(lambda slot: 0.7 * accepted(slot)),
    "PathsAccepted E2DOCSEXAMPLE2": over_the_day(lambda slot: 0.3 * accepted(slot)),
    "PathsLater": over_the_day(lambda slot: round(0.9 * changes(slot)) if is_busy(slot) else 0),
    "PathsRejected": only(REJECTED, 12),
    "Invalidations": over_the_day(lambda slot: 0 if is_busy(slot) else FLUSHES[slot] / 2),
    "MailsFailed": QUIET,
    "StateUnreadable": QUIET,
    "ChangeAge p50": over_the_day(lambda slot: 12_400 + 900 * math.sin(slot) + 60_000 * minutes_late(slot) / 2),
    "ChangeAge p99": over_the_day(lambda slot: 16_900 + 2_100 * math.sin(slot * 1.7) + 60_000 * minutes_late(slot)),
    "SetsWaiting": over_the_day(waiting),
    "SetsUnreadable": QUIET,
    "FlushDuration": over_the_day(lambda slot: 1_450 + 120 * math.sin(slot) + (2_300 if slot == RELEASE else 0)),
    "SubmitDuration": over_the_day(lambda slot: 310 + 60 * math.sin(slot * 0.9) + (1_900 if is_busy(slot) else 0)),
    "Errors": only(FAILED, 2),
    "Throttles": QUIET,
    "PathsSavedUnchanged": over_the_day(lambda slot: 180 if slot == RELEASE else round(0.1 * changes(slot))),
    "PathsSavedFirstUpload": part(0.15),
    "PathsSavedCollapsed": only(RELEASE, 60),
    "PathsHeldBack": QUIET,
    "LookUps": over_the_day(lambda slot: 30 if slot == RELEASE else round(0.2 * changes(slot))),
    "PathsThisMonth": over_the_day(ordered),
    "SpentThisMonth": over_the_day(spent),
    "ForecastThisMonth": over_the_day(lambda slot: 1.8 + 1.15 * spent(slot)),
    "ApproximateNumberOfMessagesVisible BufferQueue": part(0.02),
    "ApproximateNumberOfMessagesVisible SubmitQueue": over_the_day(lambda slot: 1 if changes(slot) > 60 else 0),
}

# Newest first, as the dashboard lists them.
LOG = [
    ("20:07", "ERROR", "ingest", "", "2 changes could not be buffered: the event is tried again"),
    ("17:31", "ERROR", "submit", "E2DOCSEXAMPLE2", "AccessDenied: 12 paths were rejected, a mail was sent"),
    ("13:02", "WARN", "submit", "E1WWWEXAMPLE01", "CloudFront is busy: 84 paths wait and are tried again"),
]


def of(metric: str, detail: str = "") -> Series:
    """The day of a metric. A metric that the day does not know stops the drawing."""
    found = DAY.get(f"{metric} {detail}".strip()) or DAY.get(metric)
    if found is None:
        raise KeyError(f"docs/sample_day.py has no numbers for {metric} {detail}")
    return found
