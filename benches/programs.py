"""What is measured: the function, and its peers."""

import platform
import shutil
import sys
from pathlib import Path

from function import OUT, PEERS, ROOT, Program

# What `make build` makes with cargo-lambda, as `sam build` does.
LAMBDA = ROOT / "target" / "lambda"
# This machine's, in Lambda's words.
PROCESSOR = platform.machine().replace("aarch64", "arm64")
FUNCTION = LAMBDA / PROCESSOR / "invalidator" / "bootstrap"
CORE = LAMBDA / PROCESSOR / "bench-core" / "bootstrap"
ZIPS = {processor: LAMBDA / processor / "invalidator" / "bootstrap.zip" for processor in ("arm64", "x86_64")}
NODE = shutil.which("node") or "node"
# Bundled by esbuild, with the SDK in it.
NODE_INGEST = OUT / "node" / "ingest.cjs"
NODE_PLAN = OUT / "node" / "plan.cjs"
BOTO3 = PEERS / "boto3"
# The environment that boto3/requirements.txt was installed in, as the bench itself runs in it.
PYTHON = sys.executable


def native(name: str) -> Path:
    """One of the peers in Rust."""
    return next((OUT / "native").glob(f"*/release/{name}"), OUT / "native" / name)


OURS = Program("ours", [str(FUNCTION)])
BOTO3_INGEST = Program("boto3", [PYTHON, "-m", "awslambdaric", "ingest.handler"], {"LAMBDA_TASK_ROOT": "."}, BOTO3)
BOTO3_PACKED = Program(
    "boto3 as SAM packs it",
    BOTO3_INGEST.command,
    BOTO3_INGEST.environment | {"PYTHONDONTWRITEBYTECODE": "1"},
    OUT / "boto3",
)
BOTO3_FLUSH = Program("boto3", [PYTHON, "-m", "awslambdaric", "flush.handler"], {"LAMBDA_TASK_ROOT": "."}, BOTO3)
NODE_SDK = Program("Node", [NODE, str(NODE_INGEST)], {"AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED": "true"})
NODE_PACKED = Program("Node as SAM packs it", [NODE, str(PEERS / "node" / "src" / "ingest.js")], NODE_SDK.environment)
FLOOR = Program("floor", [str(native("floor"))])
SIGNING = Program("by hand", [str(native("signing"))])


def check_all_built() -> None:
    """Say what is missing."""
    needed = [FUNCTION, CORE, NODE_INGEST, NODE_PLAN, BOTO3_PACKED.folder, native("floor"), native("signing")]
    if missing := [str(file) for file in needed if not file.exists()]:
        raise SystemExit(f"not built, `make bench` builds them: {', '.join(missing)}")
