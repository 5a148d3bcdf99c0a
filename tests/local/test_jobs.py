"""Jobs with a time: the template's schedule group and role, and what Scheduler is to call."""

import json

import command_line
import stack
from pipeline import Pipeline


def test_a_job_waits_for_its_time_in_a_schedule_of_the_stack(running: Pipeline) -> None:
    outputs, others = running.stack.outputs, running.cloudfront.environment
    job = ["--stack", stack.NAME, "--distribution", running.site.distributions["www"], "--output", "json", "--yes"]

    def scheduled(path: str, at: str) -> tuple[str, str]:
        made = command_line.run(running.emulator, "invalidate", path, *job, "--at", at, others=others)
        made = json.loads(made)
        assert made["scheduled_for"], made
        return made["job"], f"invalidator-{made['job']}-1"

    scheduler, group = running.emulator.client("scheduler"), outputs["ScheduleGroupName"]
    job_id, name = scheduled("/at-a-later-time", "+1h")
    schedule = scheduler.get_schedule(Name=name, GroupName=group)
    target = schedule["Target"]
    assert target["RoleArn"] == outputs["ScheduledJobRoleArn"]
    assert target["DeadLetterConfig"]["Arn"] == outputs["FailedEventsQueueArn"]
    # The emulator does not know this kind of target. boto3 refuses what SendMessage has no parameter for.
    assert target["Arn"] == "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"
    running.emulator.client("sqs").send_message(**json.loads(target["Input"]))
    assert running.wait(lambda: "/at-a-later-time" in running.invalidated_paths("www"))

    cancel = ["jobs", "cancel", job_id, "--stack", stack.NAME, "--yes"]
    assert "1 of 1 set cancelled" in command_line.run(running.emulator, *cancel, others=others)
    assert not scheduler.list_schedules(GroupName=group, NamePrefix=name)["Schedules"]
