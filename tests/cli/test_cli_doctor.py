"""`doctor` on a real server: the situation is made, and what is said of it read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.ports import Defect

if TYPE_CHECKING:
    from command_line import CommandLine

    from dagnats.runtime.embedded import EmbeddedServer


def _found(line: CommandLine, *words: str) -> dict[str, dict[str, object]]:
    """By kind and subject, what is found."""
    findings = line("doctor", *words, "--json").json()["findings"]
    return {f"{each['kind']} {each['subject'] or ''}".strip(): each for each in findings}


def test_a_paused_queue_with_tasks_is_told_and_fixed(served: CommandLine) -> None:
    queue, kind = "nobody.serves.this", "queue-paused nobody.serves.this"
    assert served("queue", "pause", queue, "--by", "ann").code == 0
    assert served("run", "start", "waiting", "--run-id", "doctor-0001").code == 0

    found = _found(served)
    for _ in range(200):
        if found[kind]["grade"] == "wrong":
            break
        found = _found(served)
    assert found[kind]["cure"] == f"dagnats queue resume {queue}"
    assert served("doctor").code == 1
    assert _found(served, "--fix")[kind]["fixed"] is True
    assert kind not in _found(served)
    assert served("run", "cancel", "doctor-0001").code == 0


def test_a_server_that_does_not_answer_is_the_one_thing_that_is_told(offline: CommandLine) -> None:
    told = offline("doctor", "--json")

    assert told.code == 1
    assert [each["kind"] for each in told.json()["findings"]] == ["unreachable"]
    assert "  → dagnats serve" in offline("doctor").lines


async def test_a_stream_that_is_missing_or_otherwise_is_told_and_the_missing_one_is_made(
    nats_server: EmbeddedServer,
) -> None:
    async with await JetStream.connect(nats_server.url, token=nats_server.token) as jetstream:
        server, link = jetstream.ports.server, jetstream.link
        await server.prepare()
        unread = Defect("sleep-timer", "no-consumer", "SLEEP_TIMERS")  # no engine was ever here
        assert await server.defects() == [unread]
        await link.api("STREAM.DELETE.EVENTS")
        await link.api("STREAM.DELETE.SLEEP_TIMERS")
        await link.api("STREAM.CREATE.SLEEP_TIMERS", {"name": "SLEEP_TIMERS", "subjects": ["sleep.>"]})

        missing, differs, none = sorted(await server.defects())
        assert none == unread
        assert (missing.name, missing.kind) == ("EVENTS", "missing")
        assert (differs.name, differs.kind) == ("SLEEP_TIMERS", "differs")
        assert "retention is 'limits', not 'workqueue'" in differs.detail
        await link.api("STREAM.DELETE.SLEEP_TIMERS")
        await server.prepare()
        assert await server.defects() == [unread]
        await jetstream.ports.log.append("full-0001", b"{}", id="1")
        assert (await server.holding()).used > 0
