"""The generated case of the planning comparison: one bucket, many distributions on it, each with its own behaviors."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from stand_in import BUCKET

SEED = 20261121
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
SECTIONS = ["img", "css", "js", "blog", "docs", "assets", "media", "downloads"]
YEARS = range(2019, 2027)
MONTHS = range(1, 13)
WORDS = ["index", "photo", "thumb", "app", "page", "report", "My holiday"]
COMMON = ["jpg", "html", "png", "css", "js"]
RARE = ["svg", "map", "woff2", "json", "xml", "webp", "txt", "pdf"]
# Behaviors at the end of a list that match much.
BROAD = 4
# Messages come in any order, the changes in one in that of a sync.
CHANGES_A_MESSAGE = 100


@dataclass(frozen=True)
class Case:
    """Two files."""

    distributions: Path
    keys: Path

    @property
    def arguments(self) -> tuple[str, str, str]:
        """What all three planners take."""
        return str(self.distributions), str(self.keys), BUCKET


def write_case(folder: Path, changes: int, distributions: int, behaviors: int, shared: bool = False) -> Case:
    """Write a case, always the same. `shared`: all distributions have the behaviors of the first."""
    name = f"{distributions}-shared" if shared else f"{distributions}"
    case = Case(folder / f"distributions-{name}.json", folder / f"keys-{changes}.txt")
    chance = random.Random(SEED)
    lists = [behavior_list(chance, behaviors) for _ in range(1 if shared else distributions)]
    items = [distribution(number, lists[number % len(lists)]) for number in range(distributions)]
    case.distributions.write_text(json.dumps({"DistributionList": {"Items": items}}))
    case.keys.write_text("".join(f"{key}\n" for key in keys(random.Random(SEED), changes)))
    return case


def keys(chance: random.Random, count: int) -> list[str]:
    """Keys, in the order in which they come out of the buffer."""
    ordered = sorted(key(chance, number) for number in range(count))
    messages = [ordered[start : start + CHANGES_A_MESSAGE] for start in range(0, count, CHANGES_A_MESSAGE)]
    chance.shuffle(messages)
    return [key for message in messages for key in message]


def key(chance: random.Random, number: int) -> str:
    """A key of a site: nine in ten with a common extension."""
    extension = chance.choice(COMMON if chance.random() < 0.9 else RARE)
    folder = f"{chance.choice(SECTIONS)}/{chance.choice(YEARS)}/{chance.choice(MONTHS):02}"
    return f"{folder}/{chance.choice(WORDS)}-{number:07}.{extension}"


def behavior_list(chance: random.Random, count: int) -> list[dict]:
    """As people order them, narrow ones first and a few broad ones at the end: most keys match late, or none."""
    narrow = [behavior(chance, narrow_pattern(chance)) for _ in range(count - BROAD)]
    return narrow + [behavior(chance, broad_pattern(chance)) for _ in range(BROAD)]


def narrow_pattern(chance: random.Random) -> str:
    """Few keys match it."""
    section, year, month = chance.choice(SECTIONS), chance.choice(YEARS), chance.choice(MONTHS)
    kinds = {
        f"/{section}/{year}/{month:02}/*": 25,
        f"*.{chance.choice(RARE)}": 10,
        f"*-{chance.randrange(100):02}.{chance.choice(COMMON)}": 10,
        f"/{section}/{year}/{month:02}/index-{chance.randrange(10_000):07}.html": 15,
        f"/{section}/*/{month:02}/{chance.choice(WORDS[:-1])}-*.{chance.choice(COMMON)}": 20,
        f"{section}/{year}/??/report-*.pdf": 10,
        f"/{section}/*/b{chance.randrange(100)}.js": 10,
    }
    return chance.choices(list(kinds), list(kinds.values()))[0]


def broad_pattern(chance: random.Random) -> str:
    """A section, or a type."""
    return chance.choice([f"/{chance.choice(SECTIONS)}/*", f"*.{chance.choice(COMMON)}"])


def behavior(chance: random.Random, pattern: str) -> dict:
    """A behavior: two in ten go to another origin, two in ten do not cache."""
    return {
        "PathPattern": pattern,
        "TargetOriginId": "api" if chance.random() < 0.2 else "s3",
        "CachePolicyId": CACHING_DISABLED if chance.random() < 0.2 else CACHING_OPTIMIZED,
    }


def distribution(number: int, behaviors: list[dict]) -> dict:
    """A distribution, as `aws cloudfront list-distributions` prints it, without what no planner reads."""
    origins = {"s3": f"{BUCKET}.s3.us-east-1.amazonaws.com", "api": "api.example.com"}
    return {
        "Id": f"E{number:013}",
        "Enabled": True,
        "Origins": {"Items": [{"Id": id_, "DomainName": name, "OriginPath": ""} for id_, name in origins.items()]},
        "DefaultCacheBehavior": {"TargetOriginId": "s3", "CachePolicyId": CACHING_OPTIMIZED},
        "CacheBehaviors": {"Items": behaviors},
    }
