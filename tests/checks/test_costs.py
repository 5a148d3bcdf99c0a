"""docs/costs.md says what template.yaml, the counted run and the prices give."""

import pytest

import costs
import template

DASHBOARD_METRICS = 50


def test_the_tables_are_up_to_date() -> None:
    text = costs.PAGE.read_text()
    assert text == costs.written(text), "run `make costs`"


def test_a_stack_at_rest_is_almost_free() -> None:
    assert costs.total(costs.at_rest(), with_free_tier=True) <= 1.00
    assert costs.total(costs.at_rest(), with_free_tier=False) <= 2.90


def test_a_million_single_events_cost_little_beside_their_paths() -> None:
    assert costs.total(costs.evenly_spread(), with_free_tier=False) < 4.605
    assert costs.total(costs.in_bursts(), with_free_tier=False) <= 1.80


def test_a_message_ends_a_poll_early() -> None:
    idle = costs.POLLS_A_MINUTE * costs.MINUTES
    assert costs.polls(1) == pytest.approx(idle, abs=1)
    # As many polls as messages, where they come faster than polls end by themselves.
    assert costs.polls(100 * idle) == pytest.approx(100 * idle, rel=0.01)


def test_the_alarms_watch_few_metrics() -> None:
    # The first ten are free, and each further one costs 0.10 USD a month.
    assert costs.alarm_metrics() <= 18


def test_what_costs_much_is_made_on_demand() -> None:
    assert not costs.resources("AWS::CloudWatch::Dashboard")
    assert not [r for r in template.load()["Resources"].values() if r["Type"] == "AWS::KMS::Key"]


def test_the_dashboard_is_one_of_the_free_ones() -> None:
    widgets = template.dashboard(lambda reference: reference)
    metrics = {tuple(row[:4]) for w in widgets for row in w["properties"].get("metrics", []) if isinstance(row[0], str)}
    assert len(metrics) <= DASHBOARD_METRICS


def test_what_comes_on_top_gets_only_what_is_left_of_the_free_amounts() -> None:
    earlier = [costs.Line("", 600, "invalidation path")]
    first, second = costs.on_top_of(earlier, [costs.Line("", 300, "invalidation path")] * 2)
    assert (first.usd(with_free_tier=True), second.usd(with_free_tier=True)) == (0, 1.0)
    assert costs.on_top_of([costs.Line("", 2_000, "invalidation path")], earlier)[0].usd(with_free_tier=True) == 3.0


def test_the_example_and_the_rest_have_the_free_amounts_once() -> None:
    shared = {line.price for line in costs.at_rest()} & {line.price for line in costs.newspaper()}
    assert shared
    for price in shared:
        lines = [line for line in costs.at_rest() + costs.newspaper() if line.price == price]
        whole = costs.Line("", sum(line.amount for line in lines), price)
        assert sum(line.usd(True) for line in lines) == pytest.approx(whole.usd(True)), price


@pytest.mark.parametrize(
    ("changes", "batch", "pays"), [(100_000, 100, False), (1_000_000, 10, False), (2_000_000, 10, True)]
)
def test_the_queue_pays_from_some_size_on(changes: int, batch: int, pays: bool) -> None:
    alone, queued = (costs.total(lines, False) for lines in (costs.by_event(changes), costs.by_queue(changes, batch)))
    assert (queued < alone) is pays


def test_free_amounts_are_subtracted_once_and_never_below_zero() -> None:
    assert costs.Line("", 999, "invalidation path").usd(with_free_tier=True) == 0
    assert costs.Line("", 1_001, "invalidation path").usd(with_free_tier=True) == 0.005
    assert costs.Line("", 1_001, "invalidation path").usd(with_free_tier=False) == 5.005
