"""Writes that wait together are stored together, where each would wait for the disk; and whatever goes wrong with a
batch, each of its messages is stored once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError, RefusedError, UnavailableError
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.policy import Policy
from dagnats.runtime.ports import Receipt
from tests.support.nats import Proxy, frozen, port_of, prepared, restarted
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Sequence

    from dagnats.runtime.ports import Log


@asynccontextmanager
async def storing_always(server: EmbeddedServer | Proxy) -> AsyncGenerator[JetStream]:
    """A connection that writes as to a server that flushes every write."""
    async with await JetStream.connect(server.url, token=server.token) as jetstream:
        await jetstream.ports.server.prepare(sync="always")
        yield jetstream


def appended(log: Log, count: int, prefix: str = "e") -> list[Awaitable[Receipt]]:
    """Events of as many runs, on their way."""
    return [log.append(f"{prefix}{n}", b"%d" % n, id=f"{prefix}{n}") for n in range(count)]


async def batches(jetstream: JetStream, stream: str = "WORKFLOW_HISTORY") -> list[str]:
    """The batch each stored message came in, "" for none, in order."""
    state = (await jetstream.link.api(f"STREAM.INFO.{stream}"))["state"]
    found: list[str] = []
    for seq in range(state["first_seq"], state["last_seq"] + 1):
        message = await jetstream.link.request(f"$JS.API.DIRECT.GET.{stream}", b'{"seq": %d}' % seq)
        if not message.status:
            found.append(message.header(b"Nats-Batch-Id").decode())
    return found


async def stored_once(jetstream: JetStream, runs: Sequence[str]) -> None:
    """Each of these runs has one event."""
    for run_id in runs:
        assert len(await jetstream.ports.log.read(run_id)) == 1, run_id


FEW = 12


async def test_a_dozen_messages_that_wait_together_are_one_batch(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        receipts = await asyncio.gather(*appended(jetstream.ports.log, FEW))
        assert receipts == [Receipt(n, duplicate=False) for n in range(1, FEW + 1)]
        assert len(set(await batches(jetstream))) == 1
        assert (await batches(jetstream))[0] != ""
        assert [entry.data for entry in await jetstream.ports.log.tail()] == [b"%d" % n for n in range(FEW)]


async def test_fewer_go_singly(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        await asyncio.gather(*appended(jetstream.ports.log, FEW - 1))
        assert set(await batches(jetstream)) == {""}


async def test_what_arrives_while_a_commit_is_under_way_goes_with_the_next(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        log = jetstream.ports.log
        first = log.append("first", b"", id="first")
        await asyncio.sleep(0)  # one turn of the loop: it has left
        rest = appended(log, FEW)
        assert await first == Receipt(1, duplicate=False)
        await asyncio.gather(*rest)
        assert await batches(jetstream) == ["", *[(await batches(jetstream))[1]] * FEW]


async def test_many_messages_are_as_many_batches_as_it_takes(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        receipts = await asyncio.gather(*appended(jetstream.ports.log, 2_000))
        assert [receipt.seq for receipt in receipts] == list(range(1, 2_001))
        found = await batches(jetstream)
        assert [found.count(batch) for batch in dict.fromkeys(found)] == [900, 900, 200]


async def test_large_messages_do_not_make_a_batch_of_any_size(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        log, large = jetstream.ports.log, b"x" * 300_000
        await asyncio.gather(*(log.append(f"r{n}", large, id=str(n)) for n in range(40)))
        found = await batches(jetstream)
        assert len(found) == 40
        assert max(found.count(batch) for batch in set(found) - {""}) == 13  # as many as 4 MiB hold


async def test_tasks_and_snapshots_are_batched_too(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        ports = jetstream.ports
        await asyncio.gather(*(ports.tasks.put("a", f"r{n}", b"", id=str(n)) for n in range(20)))
        revisions = await asyncio.gather(*(ports.snapshots.save(f"r{n}", b"", revision=0) for n in range(20)))
        assert list(revisions) == list(range(1, 21))
        for stream in ("TASK_QUEUES", "KV_workflow_runs"):
            assert len(set(await batches(jetstream, stream)) - {""}) == 1, stream


async def test_a_batch_with_messages_that_are_there_already_stores_the_others(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        log = jetstream.ports.log
        for n in (3, 17):
            await log.append(f"e{n}", b"%d" % n, id=f"e{n}")
        receipts = await asyncio.gather(*appended(log, 20))
        assert [receipt.seq for receipt in receipts if receipt.duplicate] == [1, 2]
        assert [n for n, receipt in enumerate(receipts) if receipt.duplicate] == [3, 17]
        await stored_once(jetstream, [f"e{n}" for n in range(20)])


async def test_the_same_id_twice_in_a_batch_is_one_message(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        log = jetstream.ports.log
        same = [log.append("twice", b"", id="same") for _ in range(2)]
        receipts = await asyncio.gather(*same, *appended(log, 20))
        assert receipts[1] == Receipt(receipts[0].seq, duplicate=True)
        await stored_once(jetstream, ["twice", *(f"e{n}" for n in range(20))])


async def test_a_conflict_in_a_batch_is_told_to_the_one_it_concerns(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        snapshots = jetstream.ports.snapshots
        old = await snapshots.save("r7", b"other", revision=0)
        saving = [snapshots.save(f"r{n}", b"%d" % n, revision=0) for n in range(20)]
        results = await asyncio.gather(*saving, return_exceptions=True)
        assert [n for n, result in enumerate(results) if not isinstance(result, int)] == [7]
        assert isinstance(results[7], ConflictError)
        for n in range(20):
            stored = await snapshots.load(f"r{n}")
            assert stored is not None
            expected = (old, b"other") if n == 7 else (results[n], b"%d" % n)
            assert (stored.revision, stored.data) == expected


async def test_a_message_that_can_never_be_sent_does_not_spoil_a_batch(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        log = jetstream.ports.log
        refused = [log.append("large", b"x" * 9_000_000, id="l"), log.append("no subject", b"", id="n")]
        going = appended(log, 20)
        for each in refused:
            with pytest.raises(RefusedError):
                await each
        await asyncio.gather(*going)
        assert len(set(await batches(jetstream))) == 1


async def test_a_batch_whose_answer_is_lost_is_stored_once(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as direct, Proxy(nats_server) as proxy, storing_always(proxy) as jetstream:
        proxy.silent = True
        going = appended(jetstream.ports.log, 50)

        async def committed() -> bool:
            return await direct.ports.log.last() == 50

        await until(committed)
        proxy.hang_up()
        receipts = await asyncio.gather(*going)
        assert receipts == [Receipt(n, duplicate=True) for n in range(1, 51)]
        assert await direct.ports.log.last() == 50


async def test_a_batch_that_arrives_in_part_is_stored_once(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as direct, Proxy(nats_server) as proxy, storing_always(proxy) as jetstream:
        log, large = jetstream.ports.log, b"x" * 300_000
        before = proxy.passed
        going = [log.append(f"e{n}", large, id=f"e{n}") for n in range(13)]

        async def in_part() -> bool:
            return proxy.passed - before > 1_000_000

        await until(in_part)
        proxy.hang_up()
        await asyncio.gather(*going)
        await stored_once(direct, [f"e{n}" for n in range(13)])


async def test_a_batch_under_way_when_the_server_is_killed_is_stored_once(nats_server: EmbeddedServer) -> None:
    async with Proxy(nats_server) as proxy, storing_always(proxy) as jetstream:
        for turn in range(5):
            before = proxy.passed
            async with frozen(nats_server):
                going = appended(jetstream.ports.log, 200, prefix=f"r{turn}-")

                async def handed_over(least: int = before + 200 * 100) -> bool:
                    return proxy.passed >= least

                await until(handed_over)
            await asyncio.sleep(0.001 * turn)  # so far does it get before it dies
            nats_server = await restarted(nats_server, kill=True)
            await asyncio.gather(*going)
            await stored_once(jetstream, [f"r{turn}-{n}" for n in range(200)])
    await nats_server.stop()


async def test_messages_that_cannot_leave_wait_for_the_connection(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        port = port_of(nats_server)
        await nats_server.stop()

        async def lost() -> bool:
            return not jetstream.link.send("x")

        await until(lost)
        going = asyncio.gather(*appended(jetstream.ports.log, 30))
        done, _ = await asyncio.wait([going], timeout=0.2)
        assert not done
        async with EmbeddedServer(nats_server.folder, port=port):
            await going
            await stored_once(jetstream, [f"e{n}" for n in range(30)])
            await jetstream.close()


async def test_a_batch_that_runs_out_of_time_says_that_nobody_knows(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        log = jetstream.ports.log
        async with frozen(nats_server):
            going = [log.append(f"e{n}", b"", id=f"e{n}", within_s=0.3) for n in range(20)]
            async with asyncio.timeout(2):
                results = await asyncio.gather(*going, return_exceptions=True)
        assert {str(result) for result in results} == {"NATS has not answered within 0.3 s; outcome unknown"}
        assert {type(result) for result in results} == {UnavailableError}


async def test_the_policy_is_heard_by_who_connects_later_and_who_is_connected(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as early, storing_always(nats_server):
        async with await JetStream.connect(nats_server.url, token=nats_server.token) as late:
            for jetstream, prefix in ((early, "early"), (late, "late")):
                await asyncio.gather(*appended(jetstream.ports.log, 20, prefix))
        assert "" not in await batches(early)


async def test_the_policy_stays_until_another_is_named(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        await jetstream.ports.server.prepare()
        policy = Policy(jetstream.link)
        await policy.read()
        assert policy.sync == "always"
        await jetstream.ports.server.prepare(sync="interval")
        await policy.read()
        assert policy.sync == "interval"


async def test_a_server_that_comes_back_with_another_policy_is_asked_for_it(nats_server: EmbeddedServer) -> None:
    async with storing_always(nats_server) as jetstream:
        policy = Policy(jetstream.link)
        await policy.read()
        port = port_of(nats_server)
        await nats_server.stop()
        async with EmbeddedServer(nats_server.folder, port=0) as elsewhere, prepared(elsewhere) as other:
            await other.ports.server.prepare(sync="interval")
        async with EmbeddedServer(nats_server.folder, port=port):

            async def told() -> bool:
                return policy.sync == "interval"

            await until(told)
            await jetstream.close()


async def test_without_jetstream_or_a_readable_note_the_policy_is_the_ordinary_one(
    nats_server: EmbeddedServer,
) -> None:
    async with await JetStream.connect(nats_server.url, token=nats_server.token) as jetstream:
        policy = Policy(jetstream.link)
        await policy.read()
        await jetstream.ports.server.prepare()
        await jetstream.link.publish("engine.settings", b'{"sync": "sometimes"}')
        await policy.read()
        assert policy.sync == "interval"


async def test_every_write_of_a_killed_server_that_flushes_always_is_there_after_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = EmbeddedServer(tmp_path_factory.mktemp("always"), port=0, sync_interval="always")
    await server.start()
    async with storing_always(server) as jetstream:
        receipts = await asyncio.gather(*appended(jetstream.ports.log, 500))
        server = await restarted(server, kill=True)
        await jetstream.link.up()
        assert await jetstream.ports.log.last() == len(receipts) == 500
    await server.stop()
