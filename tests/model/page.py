"""The pages of the documentation that are made from the model. Run this file after a change of rules or keys."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, cast, get_args

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from dagnats.errors import DefinitionError, Problem  # noqa: E402  (found through the line above, when run as a file)
from dagnats.model.check import advice, load_definition  # noqa: E402
from dagnats.model.definition import WorkflowDef  # noqa: E402
from dagnats.model.event import AnyEvent  # noqa: E402
from dagnats.model.identifier import DOT_PATH  # noqa: E402
from dagnats.model.rule import RULES, Rule  # noqa: E402
from dagnats.model.scalar import EXTENSION, Part  # noqa: E402
from dagnats.model.schema import json_schema  # noqa: E402
from dagnats.model.step import STEP_CLASSES, WORKER_RUN, StepDef  # noqa: E402

_MADE = "<!-- made by tests/model/page.py from the model; change that, not this file -->\n"


def problems_of(rule: Rule) -> list[Problem]:
    """What is said about a rule's example."""
    example: Any = " " * (1024 * 1024 + 1) if rule.example is None else rule.example
    try:
        definition = load_definition(example)
        if rule.dialect == "go":
            definition.to_json("go")
    except DefinitionError as error:
        return list(error.problems)
    return advice(definition, known=())


def validation_page() -> str:
    """`docs/validation.md`."""
    errors = [rule for rule in RULES.values() if rule.severity == "error"]
    warnings = [rule for rule in RULES.values() if rule.severity == "warning"]
    return "\n".join(
        [_VALIDATION, *_rules(errors), "", "## Warnings", "", _WARNINGS, *_rules(warnings), "", *_examples()]
    )


_VALIDATION = f"""# Validation

{_MADE}
`dagnats build`, `dagnats workflow validate` and the server check a definition by the same rules. All problems come at
once. Each has a JSON path, a message, often a suggestion, and the name of its rule. The names are stable: programs
compare them, never the message.

## Errors

A definition that breaks one of these is refused.

| rule | what must be so |
|---|---|"""
_WARNINGS = """These are allowed, but probably not meant.

| rule | what should be so |
|---|---|"""


def _rules(rules: list[Rule]) -> list[str]:
    return [f"| [`{rule.slug}`](#{rule.slug}) | {rule.says} |" for rule in rules]


def _examples() -> list[str]:
    lines = ["## Examples", "", "One document for each rule, and what is said about it."]
    for rule in RULES.values():
        (problem,) = problems_of(rule)
        lines += ["", f"### {rule.slug}", "", "```json", _shown(rule), "```", "", "```text", str(problem), "```"]
    return [*lines, ""]


def _shown(rule: Rule) -> str:
    if rule.example is None or isinstance(rule.example, str):
        return rule.example or "(more than 1 MiB)"
    parts = [f"  {json.dumps(key)}: {_value(value)}" for key, value in rule.example.items()]
    return "{\n" + ",\n".join(parts) + "\n}"


def _value(value: Any) -> str:
    """Lists one entry a line, everything else in one."""
    if not isinstance(value, list):
        return json.dumps(value)
    entries = ",\n".join(f"    {json.dumps(part)}" for part in cast("list[Any]", value))
    return f"[\n{entries}\n  ]"


# -- the reference of keys -----------------------------------------------------------------------------------


def definition_page() -> str:
    """`docs/definition.md`."""
    schema = json_schema()
    return "\n".join([_DEFINITION, *_keys(schema, "Workflow"), *_parts(schema), ""])


def _parts(schema: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for title, names in _GROUPS:
        lines += ["", f"## {title}", "", *([*_types(), ""] if title == "Step types" else [])]
        for name in names:
            part = schema["$defs"][name]
            lines += [f"### {name}", "", _first(part["description"]), "", *_keys(part, name), ""]
        lines.pop()
    return lines


_GROUPS = (
    ("Steps", ("Step", "RetryPolicy", "RateLimit", "KeyedRateLimit")),
    (
        "Step types",
        (
            "AgentLoopConfig",
            "MapConfig",
            "PlannerConfig",
            "SubWorkflowConfig",
            "SleepConfig",
            "WaitForEventConfig",
            "ApprovalConfig",
            "RespondConfig",
        ),
    ),
    ("Conditions and matches", ("Comparison", "AnyOf", "AllOf", "Match", "LiteralValue")),
    ("What holds runs back and what cancels them", ("Concurrency", "Priority", "Singleton", "CancelOn")),
    (
        "Triggers",
        (
            "Trigger",
            "CronTrigger",
            "SubjectTrigger",
            "WebhookTrigger",
            "HttpTrigger",
            "Authentication",
            "ExternalTrigger",
            "Debounce",
        ),
    ),
)


def _first(description: str) -> str:
    return " ".join(description.split("\n\n")[0].split())


def _keys(part: dict[str, Any], name: str) -> list[str]:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, described in part["properties"].items():
        default = "needed" if key in part.get("required", ()) else _default(described)
        note = " *Not in the Go dialect.*" if key in _extensions(name) else ""
        lines.append(f"| `{key}` | {_kind(described)} | {default} | {described['description']}{note} |")
    return lines


def _extensions(name: str) -> set[str]:
    """The keys of an object that the Go engine has not."""
    classes = {part.__name__: part for part in Part.__subclasses__()} | {"Workflow": WorkflowDef, "Step": StepDef}
    return {key for key, field in classes[name].model_fields.items() if EXTENSION in field.metadata}


def _types() -> list[str]:
    lines = ["| type | run by | `config` | what it is |", "|---|---|---|---|"]
    for kind, step_class in STEP_CLASSES.items():
        config: Any = step_class.model_fields["config"].annotation
        link = f"[{config.__name__}](#{config.__name__.lower()})" if issubclass(config, Part) else ""
        run_by = "a worker" if kind in WORKER_RUN else "the engine"
        lines.append(f"| `{kind}` | {run_by} | {link} | {_first(str(step_class.__doc__))} |")
    return lines


def _default(described: dict[str, Any]) -> str:
    default = described.get("default")
    return "" if default in (None, "", [], {}, "0s") else f"`{json.dumps(default)}`"


def _kind(described: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if described.get("type") == "integer":
        return f"whole number{_bounds(described)}"
    if described.get("pattern") == DOT_PATH:
        return "dot path"
    choices = [part for part in described.get("anyOf", ()) if part.get("type") != "null"]
    if [part.get("type") for part in choices] == ["string", "integer"]:
        return "duration"
    if choices or "oneOf" in described:
        return " or ".join(dict.fromkeys(_kind(part) for part in choices or described["oneOf"]))
    if "$ref" in described or "allOf" in described:
        name = str(described.get("$ref", "")).removeprefix("#/$defs/")
        return f"[{name}](#{name.lower()})" if name and ":" not in name else "JSON Schema"
    if "enum" in described or "const" in described:
        return ", ".join(f"`{json.dumps(value)}`" for value in described.get("enum", [described.get("const")]))
    match described.get("type"):
        case "array":
            return f"list of {_kind(described['items'])}"
        case "object":
            inner = described.get("additionalProperties", True)
            return "object" if inner is True or not inner else f"object of {_kind(inner)}"
        case "number":
            return f"number{_bounds(described)}"
        case str() as kind:
            return {"string": "text", "boolean": "true or false"}[kind]
        case list():
            return "text, number, true, false or null"
        case _:
            return "any JSON value"


def _bounds(described: dict[str, Any]) -> str:
    least, most = described.get("minimum"), described.get("maximum")
    if least is None:
        return ""
    return f", {least} or more" if most in (None, 2**31 - 1) else f", {least} to {most}"


_DEFINITION = f"""# The definition

{_MADE}
A workflow definition is one JSON document. `dagnats build` makes it from Python, `dagnats register` stores it, the
engine runs it. Anything that can write this document can use the engine. Its rules are on a
[page of their own](validation.md).

## Reading and writing

Reading is generous. A duration may be a text or an integer of nanoseconds; a step without a `type` is `normal`; an
agent loop may call its `config` `loop`. Unknown keys are refused, at any depth, and all problems come at once.

Writing has one form: keys in the order of this page, maps sorted, defaults left out, two spaces, a newline at the end.
Writing what was read, and reading it again, changes nothing. The identity of a definition is the SHA-256 of this form
written without white space, `$schema` and `triggers`; `version` and `labels` count.

`dagnats build --dialect go` writes what the Go engine reads: integers of nanoseconds, `aux_steps`, no `$schema`. The Go
engine has not everything on this page; each use of what it has not is an error that names it.

## Durations

`"500ms"`, `"30s"`, `"1h30m"`, `"1.5h"`: numbers with the units `ns`, `us` (`µs`), `ms`, `s`, `m`, `h`, and for reading
`d` and `w`. An integer is nanoseconds. A duration is zero or more, a whole number of microseconds, and at most what
Go's `time.Duration` holds. Where a default is empty, there is no limit.

## Names

| what | pattern |
|---|---|
| workflow, step, trigger | letters, digits, `_` and `-`; the first is a letter or a digit; at most 128 |
| task type | parts of letters, digits, `_` and `-`, joined by single dots; at most 128 |
| worker group | letters, digits, `_` and `-`; at most 64 |

A dot path such as `order.items.0.sku` walks objects and arrays. In a key, `\\.` is a dot and `\\\\` a backslash.

## Workflow
"""

# -- events --------------------------------------------------------------------------------------------------


def events_page() -> str:
    """`docs/events.md`."""
    return "\n".join([_EVENTS, *(_event(kind) for kind in get_args(AnyEvent)), ""])


def _event(kind: Any) -> str:
    tag, said = str(kind.__struct_config__.tag), _first(str(kind.__doc__))
    found = _SAYS.fullmatch(said)
    by, says = (_BY.get(tag) or found[1], found[2]) if found is not None else (_BY[tag], said)
    return f"| `{tag}` | {by[0].lower() + by[1:]} | {says[0].upper() + says[1:]} |"


_SAYS = re.compile(r"(The engine|A gate|The correlator, or somebody by hand|The child's engine[^:]*): (.*)")
_PEOPLE = "client"
_WORKER = "worker"
_BY = {
    "workflow.started": "client, or the engine of a parent",
    "workflow.cancelled": "client, a gate, the correlator, or the engine of a parent",
    "workflow.paused": _PEOPLE,
    "workflow.resumed": _PEOPLE,
    "workflow.reopened": _PEOPLE,
    "signal.received": _PEOPLE,
    "approval.granted": _PEOPLE,
    "approval.rejected": _PEOPLE,
    "step.started": _WORKER,
    "step.heartbeat": _WORKER,
    "step.released": _WORKER,
    "step.paused": _WORKER,
    "step.completed": _WORKER,
    "step.continue": _WORKER,
    "step.failed": "worker, client, or the engine, when a task or a wait is refused",
    "timer.fired": "the engine",
    "workflow.spawn": "the engine, or a worker",
    "step.skipped": "the engine, or client",
    "workflow.poisoned": "the engine, or a worker",
}

_EVENTS = f"""# Events

{_MADE}
All events of a run are on the subject `history.<run>`, in one order. Every event has `type`, `run_id`, `timestamp`
(RFC 3339, by its producer's clock, for people) and trace context; one of a step has `step_id` and `attempt_number`. Its
place and its time, by which everything is decided, are the log's. What the engine only reports, such as
`step.map.started`, is for whoever watches: folding it changes nothing.

What operators say of workflows and queues is in histories of its own, `history._ops.workflow.<name>` and
`history._ops.task.<type>`; the gates' wake-ups are in `history._gates.rate`.

| event | written by | says |
|---|---|---|"""

PAGES = {"validation.md": validation_page, "definition.md": definition_page, "events.md": events_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())
