"""Random workflows, from the seed alone: between them, every type of step and every key of a definition."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from dagnats.model.check import load_definition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.model.definition import WorkflowDef

CARRIED = frozenset(
    {
        "normal", "agent", "agent_loop", "map", "planner", "sub_workflow", "sleep", "wait_for_event", "approval",
        "respond",
    }
)  # fmt: skip
"""All types of steps."""

GROUP = "apart"
KEYS = ("a", "b", "c")
"""Values that limits, priorities, singletons and events tell apart."""

CAME, STOPPED = "it.came", "it.stopped"
"""Events that steps wait for, and that cancel runs."""

TASKS = ("do", "few", "paced", "keyed", "list", "plan", "item", "loop", "undo", "hang")

_QUICK = (
    "do", "do", "do", "do", "agent", "few", "paced", "keyed", "agent_loop", "agent_loop", "sleep", "wait_for_event",
    "approval", "map", "planner", "respond", "sub_workflow", "sub_workflow",
)  # fmt: skip
_GATED = {
    "few": {"max_task_concurrency": 2},
    "paced": {"rate_limit": {"limit": 4, "period": "1s"}},
    "keyed": {"keyed_rate_limit": {"key": "k", "limit": 2, "period": "1s"}},
}
"""Task types that are limited, the same wherever they are asked for."""


def _affinity(whole: dict[str, Any]) -> dict[str, Any]:
    """Whether a workflow's runs keep to one worker. Its own content decides: what is drawn after it stays the same."""
    if any("worker_group" in step for step in whole["steps"]):
        return {}
    modes = ["soft", "hard"] if "timeout" in whole else ["soft"]
    drawn = Random(str(whole))
    return {"sticky": drawn.choice(modes)} if drawn.random() < 0.5 else {}


class Author:
    """Writes the workflows of one execution.

    Args:
        types: The types of steps that may occur.
    """

    def __init__(self, random: Random, types: frozenset[str] = CARRIED) -> None:
        self._random = random
        self._types = types
        self._children: list[str] = []

    def definitions(self) -> list[WorkflowDef]:
        """Some that run on their own, and before them what they run as children."""
        made = [load_definition(each) for each in self._lesser()] if "sub_workflow" in self._types else []
        self._children = [each.name for each in made]
        return made + [self.workflow(f"w{at}") for at in range(3)]

    def _lesser(self) -> list[dict[str, Any]]:
        """A child of one step, a child with a child, and now and then one that runs itself until it may not."""
        leaf = {"name": "c0", "steps": [{"id": "s0", "task": "do", **self._limits()}], **self._admission(0.3)}
        steps = [{"id": "s0", "type": "sub_workflow", "config": {"workflow": "c0"}}, self._sleep("s1")]
        found = [leaf, {"name": "c1", "steps": steps, **self._whole()}]
        if self._random.random() < 0.1:
            again = {"id": "s0", "type": "sub_workflow", "config": {"workflow": "c2"}}
            found.append({"name": "c2", "steps": [again]})
        return found

    @staticmethod
    def _sleep(step_id: str) -> dict[str, Any]:
        return {"id": step_id, "type": "sleep", "config": {"duration": "50ms"}}

    def workflow(self, name: str) -> WorkflowDef:
        """A workflow of up to a dozen steps."""
        random = self._random
        steps: list[dict[str, Any]] = []
        outputs: dict[str, str] = {}  # by step: the kind of value it gives
        used: set[str] = set()
        for at in range(random.randint(3, 7)):
            kind = self._kind()
            needs = random.sample(sorted(outputs), k=min(len(outputs), random.choice([0, 1, 1, 1, 2])))
            if kind == "map":
                steps.append({"id": f"l{at}", "task": "list", "depends_on": needs, **self._limits()})
                outputs[f"l{at}"] = "list"
                needs = [f"l{at}"]
            made: dict[str, Any] = {"id": f"s{at}", "depends_on": needs, **self._typed(kind)}
            if "task" in made:
                made |= self._limits()
                self._serve(made, used)
            plain = [need for need in needs if outputs[need] == "plain"]
            if plain and random.random() < 0.15:
                made["skip_if"] = {"step_id": plain[0], "field": "n", "op": "<", "value": 40}
            steps.append(made)
            outputs[made["id"]] = "plain" if kind in ("do", "agent", "few", "paced", "keyed") else "other"
        steps += [{"id": one, "task": "undo", **self._limits()} for one in sorted(used)]
        random.shuffle(steps)
        whole = {"name": name, "steps": steps, **self._whole(), **self._admission(0.5)}
        return load_definition({**whole, **_affinity(whole)})

    def _kind(self) -> str:
        kind = self._random.choice(_QUICK)
        return kind if kind in ("do", "few", "paced", "keyed", *self._types) else "do"

    # -- a step ------------------------------------------------------------------------------------------------

    def _typed(self, kind: str) -> dict[str, Any]:
        """What a step of a type must have."""
        random = self._random
        match kind:
            case "map":
                most = {"max_parallel": random.choice([0, 1, 2]), "on_item_failure": random.choice(["fail", "collect"])}
                return {"type": "map", "task": "item", "config": most}
            case "planner":
                return {"type": "planner", "task": "plan", "config": {"max_steps": 6}}
            case "agent_loop":
                turns = {"max_iterations": random.choice([2, 4]), "loop_delay": random.choice(["0s", "50ms", "1s"])}
                if random.random() < 0.2:
                    turns["max_duration"] = "3s"
                return {"type": kind, "task": "loop", "config": turns}
            case "agent":
                return {"type": "agent", "task": "do"}
            case "few" | "paced" | "keyed":
                return {"task": kind, **_GATED[kind], "priority": random.choice([0, 0, 5])}
            case "do":
                apart = {"worker_group": GROUP} if random.random() < 0.1 else {}
                return {"task": "do", **apart}
            case _:
                return {"type": kind, "config": self._own(kind)}

    def _own(self, kind: str) -> dict[str, Any]:
        """What a step has that the engine runs itself."""
        random = self._random
        match kind:
            case "sleep":
                return {"duration": random.choice(["50ms", "1s", "3s"])}
            case "wait_for_event":
                match = {"left": "k", "op": "eq", "right": "input.k"}
                lookback = random.choice(["0s", "2s"])
                return {"event": CAME, "match": match, "timeout": random.choice(["2s", "9s"]), "lookback": lookback}
            case "approval":
                return {"timeout": random.choice(["3s", "9s"]), "subject": "asked"}
            case "sub_workflow":
                return {"workflow": random.choice(self._children), "detach": random.random() < 0.3}
            case _:
                return {}

    def _limits(self) -> dict[str, Any]:
        """Timeouts and retries of a step that workers run."""
        random = self._random
        made: dict[str, Any] = {}
        for key, choices in (
            ("timeout", ["", "400ms", "2s", "3s"]),
            ("queue_timeout", ["", "", "", "4s"]),
            ("heartbeat_timeout", ["", "", "", "900ms"]),
        ):
            value = random.choice(choices)
            if value:
                made[key] = value
        if random.random() < 0.8:
            made["retry"] = {
                "max_attempts": random.randint(0, 3),
                "strategy": random.choice(["fixed", "linear", "exponential"]),
                "initial_delay": random.choice(["20ms", "200ms", "1s"]),
                "max_delay": "2s",
                "jitter": random.choice([0, 0.5]),
            }
        return made

    def _serve(self, step: dict[str, Any], used: set[str]) -> None:
        """Steps that run for this one when it, or the run, fails."""
        for key, likely in (("on_failure", 0.15), ("compensate", 0.3)):
            if self._random.random() < likely:
                step[key] = self._random.choice(["x0", "x1"])
                used.add(step[key])

    # -- a whole workflow --------------------------------------------------------------------------------------

    def _whole(self) -> dict[str, Any]:
        random = self._random
        made: dict[str, Any] = {}
        timeout = random.choice(["", "1h", "1h", "15s", "30s", "60s"])
        if timeout:
            made["timeout"] = timeout
        if random.random() < 0.3:
            made["failure_mode"] = "drain"
        if random.random() < 0.6:
            causes: Sequence[Sequence[str]] = (["failure"], ["failure", "cancel"], ["failure", "cancel", "timeout"])
            made["compensate_on"] = list(random.choice(causes))
        if random.random() < 0.3:
            match = {"left": "k", "op": "eq", "right": "input.k"}
            made["cancel_on"] = [{"event": STOPPED, "match": match, "timeout": random.choice(["0s", "3s"])}]
        if random.random() < 0.1:
            made["default_retry"] = {"max_attempts": 1, "initial_delay": "100ms"}
        return made

    def _admission(self, likely: float) -> dict[str, Any]:
        """What holds whole runs back, or some of their steps."""
        random = self._random
        made: dict[str, Any] = {"labels": {"of": "a simulation"}} if random.random() < 0.1 else {}
        concurrency: dict[str, Any] = {}
        if random.random() < 0.3:
            concurrency["max_steps"] = random.randint(1, 3)
        if random.random() < likely:
            concurrency["max_runs"] = random.randint(1, 3)
            if random.random() < 0.5:
                concurrency["key"] = "k"
        if concurrency:
            made["concurrency"] = concurrency
        if random.random() < likely / 2:
            made["priority"] = {"key": "k", "rules": {"a": 5, "b": -5}}
        if random.random() < likely / 3:
            made["singleton"] = {"mode": random.choice(["skip", "cancel"]), "key": "k"}
        return made
