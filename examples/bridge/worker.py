"""A worker that needs nothing but Python: no package, no NATS, only HTTP to `dagnats serve`.

    python examples/bridge/worker.py http://127.0.0.1:8080

It serves two task types of `dagnats` and is all there is to it: ask for tasks, run each, say what became of it. While a
handler runs, a thread says every few seconds that it is alive; when the answer is that nobody waits for the result any
more, the handler is told to stop.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

WORKER_ID = f"stdlib-{socket.gethostname()}-{os.getpid()}".replace("_", "-")


class Bridge:
    """The HTTP side of a DagNats server."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def poll(self, task_types: list[str], *, wait_s: float) -> list[dict[str, Any]]:
        """Wait for a task."""
        asked = {"task_types": task_types, "worker_id": WORKER_ID, "timeout_ms": int(wait_s * 1_000)}
        return json.loads(self._post("/v1/tasks/poll", asked, timeout_s=wait_s + 10))

    def say(self, task: dict[str, Any], action: str, **fields: Any) -> Any:
        """Say something about a task; gives what the server answers. An HTTPError of 409 means: stop."""
        answer = self._post(f"/v1/tasks/{task['task_id']}/resolve", {"action": action, **fields}, timeout_s=30)
        return json.loads(answer) if answer else None

    def _post(self, path: str, document: Any, *, timeout_s: float) -> bytes:
        """Post for as long as nobody answers: a server that is restarted takes a result as well as the one before."""
        body = json.dumps(document).encode()
        while True:
            request = urllib.request.Request(self._url + path, data=body, headers=self._headers)
            try:
                with urllib.request.urlopen(request, timeout=timeout_s) as response:
                    return response.read()
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
            except OSError as error:
                print(f"asking again: {error}", file=sys.stderr)
            time.sleep(0.5)


class Stop(Exception):
    """Nobody waits for the result any more."""


class Context:
    """What a handler knows of its attempt."""

    def __init__(self, bridge: Bridge, task: dict[str, Any]) -> None:
        self._bridge = bridge
        self._task = task
        self._done = threading.Event()
        self._over = False

    def checkpoint(self, value: Any) -> None:
        """Store where we are, for the next attempt."""
        self.expect_wanted()
        self._bridge.say(self._task, "checkpoint", data=value)

    def load_checkpoint(self) -> Any:
        """What the last attempt has stored; None for nothing."""
        return self._bridge.say(self._task, "load_checkpoint")

    def expect_wanted(self) -> None:
        """Raise Stop when nobody waits for the result any more."""
        if self._over:
            raise Stop

    def __enter__(self) -> Context:
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _beat(self) -> None:
        limits_ms = [self._task["ack_wait_ms"], self._task.get("heartbeat_ms") or self._task["ack_wait_ms"]]
        while not self._done.wait(min(limits_ms) / 3_000):
            try:
                self._bridge.say(self._task, "heartbeat")
            except urllib.error.HTTPError:
                self._over = True
                return


def greet(order: dict[str, Any], _: Context) -> Any:
    """Greet somebody."""
    return {"greeting": f"Hello, {order['name']}!"}


def count(order: dict[str, Any], context: Context) -> Any:
    """Count, and begin where the last attempt ended."""
    begin = (context.load_checkpoint() or {"at": 0})["at"]
    for at in range(begin + 1, order["to"] + 1):
        time.sleep(order.get("pace_s", 0))
        context.checkpoint({"at": at})
    return {"counted": order["to"], "from": begin}


HANDLERS = {"stdlib.greet": greet, "stdlib.count": count}


def run(bridge: Bridge, task: dict[str, Any]) -> None:
    """Run one task, and say what became of it."""
    try:
        with Context(bridge, task) as context:
            output = HANDLERS[task["task_type"]](task["input"], context)
        bridge.say(task, "complete", output=output)
    except Stop:
        print("nobody waits for this any more", file=sys.stderr)
    except urllib.error.HTTPError as error:
        print(f"{error.code}: {error.read().decode()}", file=sys.stderr)
    except (KeyError, TypeError, ValueError) as error:
        bridge.say(task, "fail", error=f"{type(error).__name__}: {error}", failure_type="non_retriable")
    except Exception as error:  # noqa: BLE001  # whatever a handler raises is its step's failure
        bridge.say(task, "fail", error=f"{type(error).__name__}: {error}")


def main() -> None:
    """Work until SIGTERM or Ctrl-C; the task under way is finished first."""
    bridge = Bridge(sys.argv[1], os.environ.get("DAGNATS_BRIDGE_TOKEN", ""))
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    print(f"{WORKER_ID} serves {', '.join(HANDLERS)}", flush=True)
    while not stopping.is_set():
        for task in bridge.poll(list(HANDLERS), wait_s=2):
            run(bridge, task)


if __name__ == "__main__":
    main()
