"""Planning alone: plan.py <distributions.json> <keys.txt> <bucket> <repeats>."""

import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"BUFFER_QUEUE_URL": "", "TICK_QUEUE_URL": "", "AWS_DEFAULT_REGION": "us-east-1"}
from handler import behaviors, paths


def main() -> None:
    """Plan so often, and print what it took."""
    distributions_file, keys_file, bucket, repeats = sys.argv[1:]
    listed = json.loads(Path(distributions_file).read_text())["DistributionList"]["Items"]
    keys = Path(keys_file).read_text().splitlines()
    domain = f"{bucket}.s3."
    compiled = {
        distribution["Id"]: behaviors(distribution)
        for distribution in listed
        if any(origin["DomainName"].startswith(domain) for origin in distribution["Origins"]["Items"])
    }
    took = []
    pairs = 0
    for _ in range(int(repeats)):
        start = time.process_time_ns()
        plan = {id_: paths(of_distribution, keys) for id_, of_distribution in compiled.items()}
        took.append(time.process_time_ns() - start)
        pairs = sum(map(len, plan.values()))
    print(json.dumps({"changes": len(keys), "distributions": len(compiled), "pairs": pairs, "nanoseconds": took}))


if __name__ == "__main__":
    main()
