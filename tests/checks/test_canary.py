"""Rules of canary.yaml that no linter knows, and what it shares with template.yaml and with invalidatorctl."""

import fnmatch
import json
import re

import pytest

import alarms
import docs
import template
from alarms import Metrics, Series
from intrinsics import PSEUDO_PARAMETERS, Scope

ROOT = template.TEMPLATE.parent
CANARY = template.load(ROOT / "canary.yaml")
SETTINGS = {
    "Buckets": "site-a,site-b",
    "Stack": "shop",
    "Since": "6h",
    "FunctionName": "function",
    "AlertTopicArn": "arn:aws:sns:eu-west-1:123456789012:alerts",
}


def test_the_schedule_sends_what_invalidatorctl_reads() -> None:
    target = CANARY["Resources"]["CanarySchedule"]["Properties"]["Target"]
    event = json.loads(Scope(CANARY, SETTINGS).resolve(target["Input"]))
    assert event == {"buckets": ["site-a", "site-b"], "arguments": ["--since", "6h"]}
    fields = re.search(r"struct Event \{(.*?)\}", (ROOT / "ctl/src/canary.rs").read_text(), re.DOTALL)[1]
    assert set(re.findall(r"(\w+): Vec<String>", fields)) == set(event)


def test_the_topic_of_the_stack_takes_its_alarm() -> None:
    (allowed,) = (
        statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].split(":alarm:")[1]
        for statement in template.load()["Resources"]["AlertTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if statement["Sid"] == "OurAlarms"
    )
    name = Scope(CANARY, SETTINGS).resolve(CANARY["Resources"]["ObjectsStale"]["Properties"]["AlarmName"])
    assert fnmatch.fnmatch(name, allowed.replace("${AWS::StackName}", SETTINGS["Stack"]))


def test_its_parameters_are_outputs_of_the_stack() -> None:
    outputs = template.load()["Outputs"]
    named = re.findall(r"Description: Its output (\w+)\.", (ROOT / "canary.yaml").read_text())
    assert len(named) == 3
    assert set(named) <= set(outputs)


NOT_RUN, FAILED, FRESH, STALE = (None, None), (None, 1), (0, 0), (3, 0)


@pytest.mark.parametrize(
    ("runs", "state"),
    [
        ((FRESH, FRESH, FRESH), "OK"),
        ((STALE, FRESH, FRESH), "OK"),
        ((STALE, FRESH, STALE), "ALARM"),
        ((FAILED, FAILED, FRESH), "ALARM"),
        ((FAILED, STALE, FRESH), "ALARM"),
        ((NOT_RUN, FRESH, FRESH), "OK"),
        ((NOT_RUN, NOT_RUN, FRESH), "ALARM"),
        ((NOT_RUN, NOT_RUN, NOT_RUN), "ALARM"),
        ((NOT_RUN, STALE, FRESH), "ALARM"),
    ],
)
def test_its_alarm_tells_stale_objects_and_runs_that_fail_or_do_not_come(runs: tuple, state: str) -> None:
    alarm = Scope(CANARY, SETTINGS, PSEUDO_PARAMETERS).resolve(CANARY["Resources"]["ObjectsStale"]["Properties"])
    names = [
        Series("Invalidator", "StaleObjects", SETTINGS["FunctionName"]),
        Series("AWS/Lambda", "Errors", "Canary"),
    ]
    assert [alarms.series(it["MetricStat"]["Metric"]) for it in alarm["Metrics"] if "MetricStat" in it] == names
    metrics = Metrics()
    for period, values in enumerate(runs):
        for series, value in zip(names, values, strict=True):
            if value is not None:
                metrics.add(series, value, period)
    assert alarms.state_of(alarm, metrics) == state


def test_each_run_is_in_a_period_of_its_own() -> None:
    """A run that is late, or takes as long as it may, writes its metric in the period in which it began."""
    schedule = CANARY["Resources"]["CanarySchedule"]["Properties"]["ScheduleExpression"]
    first, every = map(int, re.fullmatch(r"cron\((\d+)/(\d+) \* \* \* \? \*\)", schedule).groups())
    alarm = CANARY["Resources"]["ObjectsStale"]["Properties"]
    (period,) = {it["MetricStat"]["Period"] for it in alarm["Metrics"] if "MetricStat" in it}
    assert every * 60 == period
    timeout = CANARY["Resources"]["Canary"]["Properties"]["Timeout"]
    assert 0 < first * 60 <= period - timeout


def test_its_package_has_another_key_after_each_build() -> None:
    (block,) = [it for it in docs.blocks(docs.ROOT / "docs/operate.md") if "make canary" in it.text]
    assert 'key="canary-${sum%% *}.zip"' in block.text
    assert 'PackageKey="$key"' in block.text
