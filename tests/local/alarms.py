"""What CloudWatch would make of the alarms of template.yaml.

The emulator measures nothing, so the metrics come from where CloudWatch has them: the function's own from the lines of
its log (embedded metric format), those of the queues from their attributes, those of Lambda from its answers.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import quantiles

import template
from intrinsics import PSEUDO_PARAMETERS, Scope

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


@dataclass(frozen=True)
class Series:
    """A metric: its name, and the logical id of the function or queue it is about."""

    namespace: str
    name: str
    of: str


@dataclass
class Metrics:
    """The values of metrics, by the period in which they came: the last one is 0, the one before 1, and so on."""

    values: dict[Series, dict[int, list[float]]] = field(default_factory=dict)

    def add(self, series: Series, value: float, period: int = 0) -> None:
        """Add a value."""
        self.values.setdefault(series, {}).setdefault(period, []).append(value)

    def statistic(self, series: Series, name: str, period: int) -> float | None:
        """A statistic of a period, or None if there was no value."""
        values = self.values.get(series, {}).get(period)
        return statistic(name, values) if values else None


def statistic(name: str, values: list[float]) -> float:
    """A statistic as CloudWatch calls it."""
    simple = {"Sum": sum, "Maximum": max, "Minimum": min, "SampleCount": len}
    if name in simple:
        return simple[name](values)
    if name == "Average":
        return sum(values) / len(values)
    percentile = int(re.fullmatch(r"p(\d+)", name)[1])
    return quantiles([*values, values[-1]], n=100, method="inclusive")[percentile - 1]


def state(name: str, metrics: Metrics) -> str:
    """The state of an alarm of template.yaml after these periods: ALARM, OK or INSUFFICIENT_DATA."""
    return state_of(resolved(name), metrics)


def state_of(alarm: dict, metrics: Metrics) -> str:
    """The state of an alarm with these properties.

    A missing value that is ignored leaves the alarm as it was, which is not raised.
    """
    periods = alarm["EvaluationPeriods"]
    needed = alarm.get("DatapointsToAlarm", periods)
    missing = alarm.get("TreatMissingData", "missing")
    compare = COMPARISONS[alarm["ComparisonOperator"]]
    threshold = float(alarm["Threshold"])
    breaching = 0
    present = 0
    for period in range(periods):
        value = datapoint(alarm, metrics, period)
        present += value is not None
        if value is None:
            breaching += missing == "breaching"
        else:
            breaching += compare(value, threshold)
    if breaching >= needed:
        return "ALARM"
    return "INSUFFICIENT_DATA" if present == 0 and missing in ("missing", "ignore") else "OK"


def resolved(name: str) -> dict:
    """The properties of an alarm, with logical ids in place of the names that AWS gives."""
    whole = template.load()
    return Scope(whole, {"AdminEmail": "none"}, PSEUDO_PARAMETERS).resolve(whole["Resources"][name]["Properties"])


def datapoint(alarm: dict, metrics: Metrics, period: int) -> float | None:
    """The value that an alarm compares, of a period."""
    if "Metrics" not in alarm:
        return metrics.statistic(series(alarm), alarm.get("Statistic") or alarm["ExtendedStatistic"], period)
    known = {
        metric["Id"]: metrics.statistic(series(metric["MetricStat"]["Metric"]), metric["MetricStat"]["Stat"], period)
        for metric in alarm["Metrics"]
        if "MetricStat" in metric
    }
    (expression,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
    return calculate(expression, known)


def series(metric: dict) -> Series:
    """The series of a metric of the template. All have one dimension."""
    (dimension,) = metric["Dimensions"]
    return Series(metric["Namespace"], metric["MetricName"], logical_id(dimension["Value"]))


def logical_id(physical: str) -> str:
    """The logical id in a physical name, as `intrinsics` makes it."""
    return physical.removeprefix(f"{PSEUDO_PARAMETERS['AWS::StackName']}-").removesuffix("-1A2B3C4D5E6F")


def calculate(expression: str, known: dict[str, float | None]) -> float | None:
    """A metric math expression with MAX, SUM, FILL, IF and arithmetic. It has no value where a metric has none."""
    functions = {
        "MAX": lambda values: max(values),
        "SUM": lambda values: sum(values),
        "FILL": lambda value, filler: filler if value is None else value,
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
    }
    names = set(re.findall(r"[A-Za-z_]\w*", expression)) - set(functions)
    assert names <= set(known), f"{expression} uses {names - set(known)}"
    try:
        return float(eval(expression, {"__builtins__": {}}, functions | known))
    except TypeError:  # None, in arithmetic
        return None


def raised(metrics: Metrics) -> list[str]:
    """The alarms whose condition is true."""
    return [name for name in names() if state(name, metrics) == "ALARM"]


def names() -> list[str]:
    """All alarms."""
    return [name for name, it in template.load()["Resources"].items() if it["Type"] == "AWS::CloudWatch::Alarm"]


def longest() -> int:
    """How many periods the most patient alarm looks at."""
    return max(resolved(name)["EvaluationPeriods"] for name in names())


def emitted(lines: Iterable[dict], periods: Iterable[int], into: Metrics) -> None:
    """Add the function's own metrics from the lines of its log, to each of these periods."""
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            if directive["Dimensions"] != [["FunctionName"]]:
                continue
            for metric in directive["Metrics"]:
                value = line[metric["Name"]]
                for one in value if isinstance(value, list) else [value]:
                    for period in periods:
                        into.add(Series(directive["Namespace"], metric["Name"], "Function"), one, period)
