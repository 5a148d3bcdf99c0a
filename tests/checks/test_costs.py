"""docs/costs.md says what template.yaml, the counted run and the prices give."""

import costs
import template

DASHBOARD_METRICS = 50


def test_the_tables_are_up_to_date() -> None:
    text = costs.PAGE.read_text()
    assert text == costs.written(text), "run `make costs`"


def test_a_stack_at_rest_is_almost_free() -> None:
    assert costs.total(costs.at_rest(), with_free_tier=True) <= 0.30
    assert costs.total(costs.at_rest(), with_free_tier=False) <= 2.20


def test_there_are_few_alarms() -> None:
    assert len(costs.resources("AWS::CloudWatch::Alarm")) <= 10


def test_what_costs_much_is_made_on_demand() -> None:
    assert not costs.resources("AWS::CloudWatch::Dashboard")
    assert not [r for r in template.load()["Resources"].values() if r["Type"] == "AWS::KMS::Key"]


def test_the_dashboard_is_one_of_the_free_ones() -> None:
    widgets = template.dashboard(lambda reference: reference)
    metrics = {tuple(row[:4]) for w in widgets for row in w["properties"].get("metrics", []) if isinstance(row[0], str)}
    assert len(metrics) <= DASHBOARD_METRICS


def test_free_amounts_are_subtracted_once_and_never_below_zero() -> None:
    assert costs.Line("", 999, "invalidation path").usd(with_free_tier=True) == 0
    assert costs.Line("", 1_001, "invalidation path").usd(with_free_tier=True) == 0.005
    assert costs.Line("", 1_001, "invalidation path").usd(with_free_tier=False) == 5.005
