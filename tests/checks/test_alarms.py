"""The evaluation of alarms in the tests, against what CloudWatch documents."""

import re

import pytest

import alarms
import docs
from alarms import Metrics, Series

REJECTED = Series("Invalidator", "PathsRejected", "Function")


def of(series: Series, *periods: list[float]) -> Metrics:
    """A metric with these values, the newest period first."""
    metrics = Metrics()
    for period, values in enumerate(periods):
        for value in values:
            metrics.add(series, value, period)
    return metrics


@pytest.mark.parametrize(
    ("values", "expected"),
    [([[]], "OK"), ([[0]], "OK"), ([[0, 2]], "ALARM"), ([[0], [5]], "ALARM"), ([[0]] * 24 + [[5]], "OK")],
    ids=["missing is not breaching", "at the threshold", "a sum above it", "an hour ago", "a day ago"],
)
def test_an_alarm_on_a_metric(values: list[list[float]], expected: str) -> None:
    assert alarms.state("PathsRejected", of(REJECTED, *values)) == expected


def test_an_alarm_needs_as_many_breaching_periods_as_it_says() -> None:
    errors = Series("AWS/Lambda", "Errors", "Function")
    assert alarms.state("FunctionErrors", of(errors, [1])) == "OK"
    assert alarms.state("FunctionErrors", of(errors, [1], [0], [1])) == "ALARM"
    assert alarms.state("FunctionErrors", of(errors, [0], [0], [0], [1], [1])) == "OK"


@pytest.mark.parametrize(
    ("expression", "known", "expected"),
    [
        ("MAX([FILL(a, 0) / 1000, FILL(b, 0)])", {"a": 2000.0, "b": None}, 2.0),
        ("a - 10 * 1000", {"a": 70_000.0}, 60_000.0),
        ("a - 10 * 1000", {"a": None}, None),
    ],
)
def test_metric_math(expression: str, known: dict[str, float | None], expected: float | None) -> None:
    assert alarms.calculate(expression, known) == expected


def test_an_hour_in_which_nothing_came_or_something_was_kept_is_not_ignored() -> None:
    received = Series("Invalidator", "ChangesReceived", "Function")
    excepted = Series("Invalidator", "ChangesExcepted", "Function")

    def of_hour(*values: tuple[Series, int]) -> str:
        metrics = Metrics()
        for series, value in values:
            metrics.add(series, value)
        return alarms.state("UploadsIgnored", metrics)

    assert of_hour() == "OK"
    assert of_hour((received, 3)) == "OK"
    assert of_hour((received, 3), (excepted, 2)) == "OK"
    assert of_hour((received, 3), (excepted, 3)) == "ALARM"


def test_a_threshold_may_be_a_parameter() -> None:
    forecast = Series("Invalidator", "ForecastThisMonth", "Function")
    assert alarms.state("ForecastHigh", of(forecast, [9.5, 10.0])) == "OK"
    assert alarms.state("ForecastHigh", of(forecast, [9.5, 10.5])) == "ALARM"


def test_what_is_spent_is_told_once_a_day_and_what_waits_only_while_it_waits() -> None:
    near = Series("Invalidator", "SpendingLimitNear", "Function")
    held_back = Series("Invalidator", "PathsHeldBack", "Function")
    for hours, expected in ((0, "ALARM"), (23, "ALARM"), (24, "OK")):
        assert alarms.state("SpendingLimitNear", of(near, *[[]] * hours, [1])) == expected
    assert alarms.state("SpendingLimitReached", of(held_back, [3])) == "ALARM"
    assert alarms.state("SpendingLimitReached", of(held_back, [], [3])) == "OK"


def test_every_alarm_can_be_evaluated() -> None:
    for name in alarms.names():
        assert alarms.state(name, Metrics()) != "ALARM", name


def test_no_flush_is_missed_before_the_first_tick() -> None:
    finished = Series("Invalidator", "FlushesFinished", "Function")
    ticks = Series("AWS/SQS", "ApproximateNumberOfMessagesVisible", "TickQueue")
    quiet = of(ticks, [0], [0], [0], [0], [0])
    assert alarms.state("NoFlushFinished", quiet) == "ALARM"
    quiet.add(finished, 1, period=4)
    assert alarms.state("NoFlushFinished", quiet) == "OK"
    assert alarms.state("NoFlushFinished", of(ticks, [0], [0])) != "ALARM"


ROWS = docs.table("README.md", "| what went wrong |")


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_what_went_wrong_has_a_test_that_causes_it(row: str) -> None:
    text = (docs.ROOT / "tests/local/test_alarms.py").read_text()
    assert f"\ndef test_{re.sub('[^a-z]+', '_', row.lower())}(" in text


def test_every_alarm_is_raised_by_a_test_and_named_in_the_readme() -> None:
    tests = (docs.ROOT / "tests/local/test_alarms.py").read_text()
    readme = (docs.ROOT / "README.md").read_text()
    for name in alarms.names():
        assert f'raises("{name}"' in tests, name
        assert f"docs/operate.md#{name.lower()})" in readme, name


def test_statistics() -> None:
    values = [float(n) for n in range(1, 101)]
    assert alarms.statistic("p99", values) >= 99
    assert alarms.statistic("Average", [1, 3]) == 2
    assert alarms.statistic("Sum", [1, 3]) == 4
