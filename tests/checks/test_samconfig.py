"""samconfig.toml holds what is no decision."""

import samconfig
import template

SETTINGS = samconfig.load()


def test_the_function_is_built_for_the_processor_that_it_is_deployed_on() -> None:
    built, deployed = (samconfig.overrides(SETTINGS[command]) for command in ("build", "deploy"))
    architecture = template.load()["Parameters"]["Architecture"]
    assert built["Architecture"] == deployed["Architecture"] == architecture["Default"]


def test_it_decides_nothing() -> None:
    for settings in SETTINGS.values():
        assert set(samconfig.overrides(settings)) == {"Architecture"}
    assert SETTINGS["deploy"]["stack_name"] == "invalidator"
    assert SETTINGS["deploy"]["capabilities"] == "CAPABILITY_IAM"
    assert SETTINGS["deploy"]["resolve_s3"] is SETTINGS["deploy"]["confirm_changeset"] is True
