"""A case for planning: many distributions on one bucket, and keys to plan for. The same at every run."""

import json
import random
from pathlib import Path

from stand_in import BUCKET, CACHING_OPTIMIZED

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ENDINGS = ("jpg", "png", "webp", "svg", "css", "js", "json", "html", "xml", "woff2")
SECTIONS = ("images", "assets", "blog", "docs", "api", "media", "static", "downloads")
FOLDERS = [f"{section}/{number:02}" for section in SECTIONS for number in range(50)]


def pattern(chance: random.Random) -> str:
    """A path pattern as sites have them: folders, endings, single pages, and mixtures."""
    folder, ending, number = chance.choice(FOLDERS), chance.choice(ENDINGS), chance.randrange(100)
    section = folder.split("/")[0]
    forms = (
        (30, f"/{folder}/*"),
        (20, f"*.{number:02}.{ending}"),
        (20, f"/{folder}/page-{number:08}.{ending}"),
        (15, f"/{folder}/*.{ending}"),
        (15, f"/{section}/*/page-0?0{number:02}*.{ending}"),
    )
    return chance.choices([form for _, form in forms], [weight for weight, _ in forms])[0]


def behaviors(chance: random.Random, count: int) -> list[dict[str, str]]:
    """A list of behaviors with patterns."""
    return [
        {
            "PathPattern": pattern(chance),
            "TargetOriginId": "s3",
            "CachePolicyId": chance.choice((CACHING_OPTIMIZED, CACHING_DISABLED)),
        }
        for _ in range(count)
    ]


def distribution(number: int, listed: list[dict[str, str]]) -> dict:
    """A distribution, in the form of `aws cloudfront list-distributions`."""
    return {
        "Id": f"E{number:013}",
        "Enabled": True,
        "Origins": {"Items": [{"Id": "s3", "DomainName": f"{BUCKET}.s3.us-east-1.amazonaws.com", "OriginPath": ""}]},
        "DefaultCacheBehavior": {"TargetOriginId": "s3", "CachePolicyId": CACHING_OPTIMIZED},
        "CacheBehaviors": {"Items": listed},
    }


def write(folder: Path, changes: int, distributions: int, count: int = 25, *, shared: bool = False) -> list[str]:
    """Write the case; the arguments of a planner for it."""
    chance = random.Random(7)
    same = behaviors(chance, count)
    items = [distribution(n, same if shared else behaviors(chance, count)) for n in range(distributions)]
    keys = [f"{chance.choice(FOLDERS)}/page-{n:08}.{chance.choice(ENDINGS)}" for n in range(changes)]
    chance.shuffle(keys)
    files = folder / f"distributions-{distributions}-{shared}.json", folder / f"keys-{changes}.txt"
    files[0].write_text(json.dumps({"DistributionList": {"Items": items}}))
    files[1].write_text("".join(f"{key}\n" for key in keys))
    return [str(files[0]), str(files[1]), BUCKET]
