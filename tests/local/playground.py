"""`make local KEEP=1`: the pipeline stays up, to practise on it what the docs say, in a second terminal."""

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator

import alert_mails
import pipeline
import sample_site
import stack
from emulator import ACCESS_KEY, REGION, SECRET_KEY
from proxy import Answer, Proxy, Request, forwarded

# A bucket with a distribution, which is not connected yet. The samples in events/ name it.
PRACTICE_BUCKET = "example-site"
PRACTICE_DISTRIBUTION = "E3PRACTICE"
SETTINGS = "playground.sh"
# Of CloudFront, and of what controls the stand-in.
CLOUDFRONT_PATHS = ("/2020-05-31/", "/_stand_in/")


@contextlib.contextmanager
def front_door(running: pipeline.Pipeline) -> Iterator[str]:
    """One endpoint for all services, as `--endpoint-url` takes only one."""
    with Proxy(route(running)) as proxy:
        yield proxy.endpoint


def route(running: pipeline.Pipeline) -> Callable[[Request], Answer]:
    """Passes each request on to the program that plays its service."""

    def answer(request: Request) -> Answer:
        is_cloudfront = request.path.startswith(CLOUDFRONT_PATHS)
        return forwarded(request, running.cloudfront.endpoint if is_cloudfront else running.emulator.endpoint)

    return answer


def keep(running: pipeline.Pipeline) -> None:
    """Say how to use it, show each mail that arrives, and return when told to end."""
    add_practice_site(running)
    mails = alert_mails.subscribe(running.emulator.client, running.stack.outputs["AlertTopicArn"], "playground-mailbox")
    try:
        with front_door(running) as endpoint:
            # In the folder of this run, which goes with it: a second playground has its own.
            (running.emulator.folder / SETTINGS).write_text(settings(running, endpoint))
            print(instructions(running, endpoint), flush=True)
            threading.Thread(target=show_mails, args=(running, mails), daemon=True).start()
            threading.Event().wait()
    except KeyboardInterrupt:
        # Nothing may interrupt the removal of what runs.
        for order in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(order, signal.SIG_IGN)
        print("\nstopping everything", flush=True)


def add_practice_site(running: pipeline.Pipeline) -> None:
    """A site whose bucket is not connected."""
    running.emulator.client("s3").create_bucket(Bucket=PRACTICE_BUCKET)
    origin = sample_site.origin("bucket", f"{PRACTICE_BUCKET}.s3.{REGION}.amazonaws.com")
    running.cloudfront.add(
        {
            "Id": PRACTICE_DISTRIBUTION,
            "Enabled": True,
            "Origins": sample_site.items([origin]),
            "DefaultCacheBehavior": sample_site.behavior("bucket", CachePolicyId=sample_site.CACHING_OPTIMIZED),
        }
    )


def show_mails(running: pipeline.Pipeline, url: str) -> None:
    """Print each mail to the admin."""
    while True:
        for body in alert_mails.take(running.emulator.client, url, 10):
            mail = json.loads(body)
            print(f"--- a mail to the admin\nSubject: {mail.get('Subject')}\n\n{mail['Message']}\n---", flush=True)


def settings(running: pipeline.Pipeline, endpoint: str) -> str:
    """What a second terminal reads to work with the playground."""
    root = pipeline.ROOT
    return rf"""# Written by `make local KEEP=1`, and removed when it ends.
unset AWS_PROFILE AWS_SESSION_TOKEN
export AWS_ENDPOINT_URL={endpoint} AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}
export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
STACK={stack.NAME} BUCKET={PRACTICE_BUCKET}
aws() {{ "{root}/.venv/aws/bin/aws" --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }}
invalidatorctl() {{ "{root}/target/debug/invalidatorctl" "$@"; }}
out() {{
  aws cloudformation describe-stacks --stack-name "$STACK" --output text \
    --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue"
}}
# The stand-in for CloudFront: refuse to invalidate a distribution, and accept again.
refuse() {{
  curl -fsS "$AWS_ENDPOINT_URL/_stand_in/faults" \
    -d '{{"fault":"AccessDenied","operation":"CreateInvalidation","target":"'"$1"'"}}'
}}
accept() {{ curl -fsS -X DELETE "$AWS_ENDPOINT_URL/_stand_in/faults"; }}
"""


def instructions(running: pipeline.Pipeline, endpoint: str) -> str:
    """What to do in the second terminal."""
    www = running.site.distributions["www"]
    served = " and ".join(running.site.distributions.values())
    relative = (running.emulator.folder / SETTINGS).relative_to(pipeline.ROOT)
    return f"""
The playground is up. Ctrl-C stops it and removes all that is in it. Mails to the admin appear here.

  endpoint        {endpoint} (all services)
  region          {REGION}, access key {ACCESS_KEY}, secret key {SECRET_KEY}
  stack           {stack.NAME}, debounce {running.debounce_seconds} s
  buckets         {sample_site.SITE} (connected), {PRACTICE_BUCKET} (not connected)
  distributions   {served} serve {sample_site.SITE}, {PRACTICE_DISTRIBUTION} serves {PRACTICE_BUCKET}

In a second terminal, in this folder (bash or zsh):

  . {relative}

Then the commands of docs/deploy.md, docs/tag.md and docs/operate.md work as they are written there, except for the line
STACK=invalidator: leave it out, as the stack is {stack.NAME} here. To practise:

  # Change an object, and see its invalidation {running.debounce_seconds} s later.
  echo hello | aws s3 cp - s3://{sample_site.SITE}/hello.html
  aws cloudfront list-invalidations --distribution-id {www}

  # Ask what a change would do.
  invalidatorctl --endpoint-url {endpoint} plan events/s3-put.json

  # Connect a bucket.
  connect=$(out ConnectBucket) && eval "$connect"

  # Let CloudFront refuse, change an object, read the mail here, then run the command that the mail names.
  refuse {www}
  echo again | aws s3 cp - s3://{sample_site.SITE}/hello.html
  accept

  # The kill switch: stop, change an object, see the change wait, go on.
  invalidatorctl mode stopped --stack {stack.NAME} --why practice
  aws sqs get-queue-attributes --queue-url "$(out BufferQueueUrl)" --attribute-names ApproximateNumberOfMessages
  invalidatorctl mode live --stack {stack.NAME}
"""
