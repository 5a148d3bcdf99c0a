"""Rules of canary.yaml that no linter knows, and what it shares with template.yaml and with invalidatorctl."""

import fnmatch
import json
import re

import template
from intrinsics import Scope

ROOT = template.TEMPLATE.parent
CANARY = template.load(ROOT / "canary.yaml")
SETTINGS = {"Buckets": "site-a,site-b", "Stack": "shop", "Since": "6h"}


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
