"""Lambda's runtime for Python, without what this comparison has no use for: it only adds to the start."""

import http.client
import json
import os

import handler

PATH = "/2018-06-01/runtime/invocation/"


def main() -> None:
    """Ask for events for ever."""
    runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        runtime.request("GET", f"{PATH}next")
        answer = runtime.getresponse()
        event = json.loads(answer.read())
        result = handler.handler(event, None)
        id_ = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        runtime.request("POST", f"{PATH}{id_}/response", json.dumps(result))
        runtime.getresponse().read()


if __name__ == "__main__":
    main()
