"""Why a run does not go on: rules that look at facts, and name the cure. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.client.diagnosis import Finding
from dagnats.client.step_cause import of_step
from dagnats.client.wording import named, span
from dagnats.model.instant import second_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.client.diagnosis import Facts

_SECOND = 1_000_000_000
_SLOW_S = 2.0  # an engine that works needs milliseconds
_QUIET_S = 60.0  # a snapshot is made within seconds


def findings(facts: Facts) -> list[Finding]:
    """What holds a run, most important first; for a run that has ended, what there is to say about that."""
    found = [*_of_engine(facts), *_of_run(facts)]
    if not facts.view.ended:
        for step in facts.view.steps:
            if step.in_flight or step.held:
                found += of_step(facts, step)
        if facts.newest_hash and facts.newest_hash != facts.view.def_hash:
            found.append(_older_definition(facts))
        found += _of_snapshot(facts)
    found += _of_letters(facts)
    order = {"wrong": 0, "waits": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.grade])


# -- the whole ---------------------------------------------------------------------------------------------------


def _of_engine(facts: Facts) -> Iterator[Finding]:
    if facts.view.ended:
        return
    if not facts.engine.leads:
        yield Finding(
            "no-engine",
            "wrong",
            facts.engine.silence,
            "nobody decides: no run goes on, and no new one begins",
            "dagnats serve",
        )
    elif facts.engine.behind > 1_000:
        yield Finding(
            "engine-behind",
            "waits",
            f"the engine is {facts.engine.behind:,} events behind the end of the log",
            "what this run waits for may be among them",
        )
    elif facts.last[0] > facts.engine.seq and (old_s := (facts.now_ns - facts.last[1]) / _SECOND) > _SLOW_S:
        yield Finding(
            "undecided",
            "waits",
            f"its newest event is {span(old_s)} old, and is event {facts.last[0]} of the log; the engine has come to"
            f" event {facts.engine.seq}",
            "what follows from it is decided when the engine comes to it",
            "dagnats doctor",
        )


def _of_run(facts: Facts) -> Iterator[Finding]:
    view = facts.view
    if view.paused:
        yield Finding(
            "run-paused",
            "wrong",
            f"run {view.run_id} is paused",
            "what is in flight goes on, and nothing more is handed out",
            f"dagnats run resume {view.run_id}",
            fix="resume_run",
        )
    match view.status:
        case "scheduled":
            wait = span((view.run_at_ns - facts.now_ns) / _SECOND)
            yield Finding(
                "scheduled", "waits", f"it begins at {second_text(view.run_at_ns)}, in {wait}", "its time has not come"
            )
        case "pending":
            yield _pending(facts)
        case "failed" | "compensate_failed" | "compensated" | "cancelled":
            yield _ended(facts)
        case _:
            pass


def _pending(facts: Facts) -> Finding:
    view = facts.view
    at = facts.gates.run(view.run_id)
    if at is None:
        waited = span((facts.now_ns - view.created_ns) / _SECOND)
        return Finding(
            "not-admitted",
            "waits",
            f"it was started {waited} ago and is in no line",
            "the engine has not come to its start yet, or lets it begin right now",
        )
    gate, place = at
    if place.why == "pause":
        by = f" by {gate.said.by}" if gate.said is not None and gate.said.by else ""
        return Finding(
            "workflow-paused",
            "wrong",
            f"workflow {view.workflow} is paused{by}; this run is number {place.place} in line",
            "none of its runs begins",
            f"dagnats workflow resume {view.workflow}",
            fix="resume_workflow",
        )
    holders = named([out.run_id for out in gate.out])
    if place.why == "singleton":
        return Finding(
            "singleton",
            "waits",
            f"another run of {view.workflow} goes on: {holders}",
            "only one may at a time: this run begins when that one has ended",
            f"dagnats run diagnose {gate.out[0].run_id}" if gate.out else "",
        )
    key = f" for {gate.key!r}" if gate.key else ""
    return Finding(
        "max-runs",
        "waits",
        f"{len(gate.out)} of at most {gate.max_runs} runs of {view.workflow}{key} go on ({holders}); this one is number"
        f" {place.place} in line",
        "it begins when one of them has ended",
        f"dagnats workflow limit {view.workflow} --max-runs {gate.max_runs + 1}",
    )


def _ended(facts: Facts) -> Finding:
    view = facts.view
    blame = f"step {view.failed_step} failed: {view.error}" if view.failed_step else view.error or "no reason was given"
    cures = {
        "failed": f"dagnats run retry {view.run_id} --mode replay",
        "compensate_failed": f"dagnats run retry {view.run_id} --mode replay",
        "cancelled": f"dagnats run retry {view.run_id} --mode replay",
        "compensated": f"dagnats run retry {view.run_id}",
    }
    return Finding(
        "ended",
        "wrong" if view.status != "cancelled" else "note",
        f"it ended as {view.status}: {blame}",
        "it does not go on by itself",
        cures[view.status],
        step_id=view.failed_step,
    )


def _older_definition(facts: Facts) -> Finding:
    view = facts.view
    return Finding(
        "older-definition",
        "note",
        f"it runs by definition {view.def_hash[:12]}; registered is {facts.newest_hash[:12]}",
        "a run keeps the definition it was started with: a mended workflow counts for new runs only",
        f"dagnats run retry {view.run_id}",
    )


def _of_letters(facts: Facts) -> Iterator[Finding]:
    if facts.letters and not facts.view.ended:
        places = named([str(letter.seq) for letter in facts.letters])
        yield Finding(
            "dead-letters",
            "note",
            f"{len(facts.letters)} of its tasks are dead letters: {places}",
            "they failed for good, and are kept for somebody to look at",
            f"dagnats dlq list --run {facts.view.run_id}",
        )


def _of_snapshot(facts: Facts) -> Iterator[Finding]:
    """The engine saves what it has decided within seconds. Nobody has to wait for that: who reads, reads on."""
    seq, time_ns = facts.last
    quiet_s = (facts.now_ns - time_ns) / _SECOND
    decided = facts.engine.leads and not facts.engine.behind
    if decided and facts.snapshot_seq < seq and quiet_s > _QUIET_S:
        yield Finding(
            "snapshot-behind",
            "note",
            f"its newest event is {seq}, {span(quiet_s)} old, and its snapshot "
            + (f"was made at event {facts.snapshot_seq}" if facts.snapshot_seq else "is not there, or unreadable"),
            "nothing is held: whoever looks reads the events as well, and its next event is saved with all before",
        )
