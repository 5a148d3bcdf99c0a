"""Proxies before the emulator's services, which record the function's calls."""

import contextlib
from collections import Counter
from functools import partial

import calls
from proxy import Answer, Proxy, Request, forwarded

SERVICES = ("s3", "sns", "sqs")


class Recorder:
    """A proxy for each service. Use it in a `with` statement."""

    def __init__(self) -> None:
        self.upstream = ""
        # What the function has called.
        self.calls: set[calls.Call] = set()
        # How often.
        self.counts: Counter[calls.Call] = Counter()
        self.proxies = {service: Proxy(partial(self.recorded, service)) for service in SERVICES}
        self.running = contextlib.ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the function finds the proxies."""
        return {f"AWS_ENDPOINT_URL_{service.upper()}": proxy.endpoint for service, proxy in self.proxies.items()}

    def __enter__(self) -> "Recorder":
        for proxy in self.proxies.values():
            self.running.enter_context(proxy)
        return self

    def __exit__(self, *_: object) -> None:
        self.running.close()

    def recorded(self, service: str, request: Request) -> Answer:
        """Pass a call on, and record it."""
        call = calls.read(service, request.method, request.path, request.headers, request.body)
        self.calls.add(call)
        self.counts[call] += 1
        answer = forwarded(request, self.upstream)
        if call.action == "s3:GetObject" and answer.status == calls.NOT_FOUND:
            # S3 says that an object is missing only to who may list the bucket; to others it says 403.
            self.calls.add(calls.Call("s3:ListBucket", call.resource.split("/", 1)[0]))
        return answer
