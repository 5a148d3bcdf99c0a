"""`make local`: the whole pipeline, from S3 changes to CloudFront invalidations, on this machine.

Exit status 0 only if exactly the expected paths were invalidated on each distribution. With KEEP=1 it then stays up,
to practise on.
"""

import os
import sys
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

import pipeline
import playground
import report
import sample_site
import template
from emulator import EmulatorError, forget_user_settings, interrupt_when_told_to_end
from stack import DeployError


def main() -> int:
    """Run the pipeline once, and report what happened."""
    forget_user_settings()
    interrupt_when_told_to_end()
    binary = Path(sys.argv[1]).resolve()
    if not binary.is_file():
        return complain(f"there is no function at {binary}: build it with `cargo build --bin invalidator`")
    try:
        debounce_seconds = debounce_from_environment()
        return run(binary, debounce_seconds)
    except (DeployError, EmulatorError, SettingError) as error:
        return complain(str(error))
    except (BotoCoreError, ClientError) as error:
        return complain(f"the emulator refuses a call: {error}")
    except KeyboardInterrupt:
        return complain("interrupted")


class SettingError(Exception):
    """A setting that cannot be used; the message names it."""


def debounce_from_environment() -> int:
    """DEBOUNCE_SECONDS, checked as the template checks it."""
    parameter = template.load()["Parameters"]["DebounceSeconds"]
    text = os.environ.get("DEBOUNCE_SECONDS") or str(parameter["Default"])
    allowed = [str(value) for value in parameter["AllowedValues"]]
    if text not in allowed:
        raise SettingError(f"DEBOUNCE_SECONDS must be one of {', '.join(allowed)}, not {text!r}")
    return int(text)


def run(binary: Path, debounce_seconds: int) -> int:
    """Deploy, make the changes, wait, report."""
    say("starting the emulator and deploying template.yaml")
    with pipeline.running(binary, debounce_seconds) as running:
        say(f"deployed {running.stack.outputs['FunctionName']} at {running.emulator.endpoint}")
        running.connect()
        say(f"changing {len(sample_site.CHANGES)} objects, then waiting for the debounce of {debounce_seconds} s")
        sample_site.publish(running.emulator)
        complete = running.wait_for_sample()
        say("every change is decided" if complete else "gave up waiting")
        print()
        print("\n".join(report.lines(running)))
        status = conclude(running)
        if os.environ.get("KEEP") and status == 0:
            playground.keep(running)
        return status


def conclude(running: pipeline.Pipeline) -> int:
    """Print the verdict, and return the exit status."""
    faults = list(report.faults(running))
    if not faults:
        paths = sum(len(sample_site.expected_paths(name)) for name in running.site.distributions)
        print(f"OK: exactly the {paths} expected paths were invalidated.")
        return 0
    for line in running.complaints():
        print(f"  the function logged: {line}")
    for fault in faults:
        print(f"  {fault}")
    return complain("the invalidations are not the expected ones, see above")


STARTED = time.monotonic()


def say(text: str) -> None:
    """Progress, with the time since the start."""
    print(f"{time.monotonic() - STARTED:5.1f} s  {text}", flush=True)


def complain(text: str) -> int:
    """One line on what is wrong, and the exit status that goes with it."""
    print(f"make local: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
