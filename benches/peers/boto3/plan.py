"""Times the mapping alone: `plan.py DISTRIBUTIONS.JSON KEYS.TXT BUCKET`. Prints JSON."""

import json
import sys
import time
from pathlib import Path

import mapping

WARM_UP_KEYS = 200


def plan(distributions: list[dict], keys: list[str], bucket: str) -> int:
    """The number of paths of all distributions."""
    changes = [mapping.change(key) for key in keys]
    paths = [mapping.stale_paths(mapping.behaviors(each, bucket), changes) for each in distributions]
    return sum(map(len, paths))


def main() -> None:
    """Plan once to warm up, then under the clock."""
    distributions = json.loads(Path(sys.argv[1]).read_text())["DistributionList"]["Items"]
    keys = Path(sys.argv[2]).read_text().split("\n")[:-1]
    plan(distributions, keys[:WARM_UP_KEYS], sys.argv[3])
    start = time.process_time_ns()
    pairs = plan(distributions, keys, sys.argv[3])
    nanoseconds = time.process_time_ns() - start
    print(json.dumps({"changes": len(keys), "pairs": pairs, "nanoseconds": [nanoseconds]}))


if __name__ == "__main__":
    main()
