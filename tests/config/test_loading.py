"""The configuration that holds: which file, which layer wins, and everything that is wrong at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dagnats.config.load import Configuration, load, load_place
from dagnats.config.view import shown
from dagnats.errors import ConfigurationError, Problem

SECRET = "s3cr3t-Zebra"


def write(text: str, place: str = "dagnats.yaml") -> Path:
    file = Path(place)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def problems(text: str) -> dict[str, Problem]:
    """What is wrong with a file, by path."""
    write(text)
    with pytest.raises(ConfigurationError) as refused:
        load()
    return {problem.path: problem for problem in refused.value.problems}


def configured(text: str) -> Configuration:
    write(text)
    return load()


# -- the file --------------------------------------------------------------------------------------------------


def test_without_a_file_everything_is_the_default(nowhere: Path) -> None:
    found = load()
    assert found.file is None
    assert found.settings.data_dir == str(nowhere.parent / "share" / "dagnats")
    assert found.settings.retention == timedelta(days=30)
    assert {value.origin for value in shown(found)} == {"default"}


def test_the_first_file_that_is_there_counts_alone(nowhere: Path) -> None:
    home = write("nats_port: 1\nmonitor_port: 2\n", str(nowhere.parent / "home" / "dagnats" / "dagnats.yaml"))
    assert load().file == home
    write("nats_port: 3\n")
    assert (load().settings.nats_port, load().settings.monitor_port) == (3, None)
    named = write("nats_port: 4\n", "other.yaml")
    assert load(str(named)).settings.nats_port == 4


def test_a_file_that_is_named_has_to_be_there(nowhere: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"configuration file 'nope\.yaml' does not exist"):
        load("nope.yaml")
    with pytest.raises(ConfigurationError, match="is not a file"):
        load(str(nowhere))


def test_a_relative_path_in_a_file_is_relative_to_the_file() -> None:
    file = write("data_dir: data\nworker:\n  a: {exec: [x], cwd: jobs}\n", "etc/dagnats.yaml")
    settings = load(str(file)).settings
    assert settings.data_dir == str(Path.cwd() / "etc" / "data")
    assert settings.worker["a"].cwd == str(Path.cwd() / "etc" / "jobs")


# -- who wins --------------------------------------------------------------------------------------------------


def test_flags_go_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("nats_port: 1\nsync: 1s\nretention: 1h\nhttp_addr: ':1'\n")
    monkeypatch.setenv("DAGNATS_SYNC", "2s")
    monkeypatch.setenv("DAGNATS_RETENTION", "2h")
    monkeypatch.setenv("DAGNATS_HTTP_ADDR", "")  # empty says nothing
    found = load(retention="3h", nats_port=None)

    assert {value.key: (value.text, value.origin) for value in shown(found) if value.origin != "default"} == {
        "http_addr": (":1", "dagnats.yaml:4"),
        "nats_port": ("1", "dagnats.yaml:1"),
        "sync": ("2s", "environment DAGNATS_SYNC"),
        "retention": ("3h", "flag --retention"),
    }


def test_a_token_on_a_stronger_layer_takes_the_place_of_a_token_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"{SECRET}\n", "token")
    write("token_file: token\n")
    assert load().token == SECRET
    monkeypatch.setenv("DAGNATS_TOKEN", "another")
    assert load().token == "another"
    assert load().settings.token_file == ""
    monkeypatch.delenv("DAGNATS_TOKEN")
    write("token: another\n")
    monkeypatch.setenv("DAGNATS_TOKEN_FILE", "token")
    assert load().token == SECRET


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("token_file: nope", "cannot be read: No such file or directory"),
        ("token_file: empty", "is empty"),
        ("token: a\ntoken_file: b", "both 'token' and 'token_file' are given"),
    ],
)
def test_a_token_file_that_gives_no_token_is_a_problem(line: str, said: str) -> None:
    write(" \n", "empty")
    assert said in problems(line)["token_file"].message


def test_the_environment_overrides_the_workers_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("worker:\n  lint.run: {exec: [old], timeout: 1m}\n  pay-out: {http: 'https://old.example', timeout: 2m}\n")
    monkeypatch.setenv("DAGNATS_WORKER_LINT_RUN_EXEC", "ruff check 'a b'")
    monkeypatch.setenv("DAGNATS_WORKER_PAY_OUT_HTTP", "https://new.example")
    monkeypatch.setenv("DAGNATS_WORKER_PAY_OUT_HTTP_METHOD", "put")
    found = load()

    lint, pay = found.settings.worker["lint.run"], found.settings.worker["pay-out"]
    assert (lint.exec, lint.timeout) == (("ruff", "check", "a b"), timedelta(minutes=1))
    assert pay.http is not None
    assert (pay.http.get_secret_value(), pay.http_method) == ("https://new.example", "PUT")
    assert found.origin(("worker", "lint.run", "exec")) == "environment DAGNATS_WORKER_LINT_RUN_EXEC"
    assert found.worker_origin("lint.run") == "dagnats.yaml:2"


def test_a_variable_that_means_no_worker_or_two_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    write("worker:\n  a.b: {exec: x}\n  a-b: {exec: x}\n  lint: {exec: x}\n")
    monkeypatch.setenv("DAGNATS_WORKER_A_B_EXEC", "x")
    monkeypatch.setenv("DAGNATS_WORKER_LIMT_EXEC", "x")
    monkeypatch.setenv("DAGNATS_WORKER", "{}")
    with pytest.raises(ConfigurationError) as refused:
        load()
    said = {problem.message: problem.hint for problem in refused.value.problems}
    assert said == {
        "DAGNATS_WORKER_A_B_EXEC means 'a-b' and 'a.b'": "set it in the file",
        "DAGNATS_WORKER_LIMT_EXEC is about no worker that is configured": "did you mean DAGNATS_WORKER_LINT_EXEC?",
        "'worker' can be set in the file only": "",
    }


# -- what cannot be --------------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGNATS_MONITOR_PORT", "many")
    write("nats_prot: 1\nnats_port: 70000\nnats_port: 1\npolicy: {control_plan: {}}\n")
    with pytest.raises(ConfigurationError) as refused:
        load()

    assert refused.value.title == "the configuration has 5 problems (dagnats.yaml)"
    assert [(problem.source, problem.rule) for problem in refused.value.problems] == [
        ("dagnats.yaml:1", "unknown-key"),
        ("dagnats.yaml:2", "value"),
        ("dagnats.yaml:3", "duplicate-key"),
        ("dagnats.yaml:4", "unknown-key"),
        ("environment DAGNATS_MONITOR_PORT", "value"),
    ]


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ("data_dirr: /x", "data_dirr", "did you mean 'data_dir'?"),
        ("NATS-PORT: 1", "NATS-PORT", "did you mean 'nats_port'?"),
        ("runs_max_age: 1d", "runs_max_age", "here it is called 'retention'"),
        ("leaf_remotes: nats-leaf://h", "leaf_remotes", "a leaf node would store what others"),
        ("worker: {a: {exec: x, time_out: 1s}}", "worker.a.time_out", "did you mean 'timeout'?"),
        ("policy: {control_plane: {grants: []}}", "policy.control_plane.grants", "did you mean 'grant'?"),
        (
            "policy: {control_plane: {quotas: {depth: 1}}}",
            "policy.control_plane.quotas.depth",
            "did you mean 'max_depth'?",
        ),
        ("access: {tokens: true}", "access.tokens", "known here: basic, forward"),
        ("access: {basic: {ann: {pasword: x}}}", "access.basic.ann.pasword", "did you mean 'password'?"),
        ("access: {forward: {proxy: x}}", "access.forward.proxy", "did you mean 'proxies'?"),
        ("worker: {a: {exec: x, zzz: 1}}", "worker.a.zzz", "known here: exec, cwd, env, http"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_one_that_was_meant(text: str, path: str, hint: str) -> None:
    problem = problems(text)[path]
    assert problem.rule == "unknown-key"
    assert problem.hint.startswith(hint)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("nats_port: true", "nats_port", "nats_port is True: it is no number"),
        ("nats_port: 1.5", "nats_port", "nats_port is 1.5: input should be a valid integer"),
        ("monitor_port: 0", "monitor_port", "greater than or equal to 1"),
        ("max_store_bytes: 1GB", "max_store_bytes", "'1GB'"),
        ("data_dir: [a]", "data_dir", "data_dir is a list"),
        ("http_addr: localhost", "http_addr", "it is no address to listen on"),
        ("http_addr: '::1:80'", "http_addr", "it is no address to listen on"),
        ("http_addr: ':99999'", "http_addr", "it is no address to listen on"),
        ("url: 'ftp://h'", "url", "it is not the address of a NATS server"),
        ("namespace: 2nd", "namespace", "namespace is '2nd': a namespace is a letter, then letters, digits"),
        ("namespace: history", "namespace", "take another, such as 'staging'"),
        ("sync: sometimes", "sync", "is not a duration"),
        ("sync: 0s", "sync", "it is zero"),
        ("retention: 30", "retention", "write a number with a unit"),
        ("retention_runs: 0", "retention_runs", "greater than or equal to 1"),
        ("worker: [a]", "worker", "worker is a list"),
        ("worker: {a: ls}", "worker.a", "worker.a is 'ls'"),
        ("worker: {'a b': {exec: x}}", "worker.a b", "string should match pattern"),
        ("worker: {a: {}}", "worker.a", "neither 'exec' nor 'http' is given"),
        ("worker: {a: {exec: x, http: 'https://h'}}", "worker.a", "both 'exec' and 'http' are given"),
        ("worker: {a: {exec: x, headers: {}}}", "worker.a.headers", "'headers' does nothing for 'exec'"),
        ("worker: {a: {http: 'https://h', env: [A]}}", "worker.a.env", "'env' does nothing for 'http'"),
        ("worker: {a: {exec: ''}}", "worker.a.exec", "it names no program"),
        ('worker: {a: {exec: "it\'s"}}', "worker.a.exec", "it cannot be split into words: no closing quotation"),
        ("worker: {a: {exec: x, timeout: 25h}}", "worker.a.timeout", "less than or equal to"),
        ("worker: {a: {exec: x, max_output_bytes: 10485761}}", "worker.a.max_output_bytes", "10485760"),
        ("worker: {a: {exec: x, env: [A=B]}}", "worker.a.env[0]", "'A=B'"),
        ("worker: {a: {http: 'ftp://h'}}", "worker.a.http", "it is no URL"),
        ("worker: {a: {http: 'https://h:x/'}}", "worker.a.http", "it is no URL"),
        ("worker: {a: {http: 'https://h/#f'}}", "worker.a.http", "no '#'"),
        ("worker: {a: {http: 'https://h/\u00e4'}}", "worker.a.http", "escape it"),
        ('worker: {a: {http: "https://h/a\\r\\nX: y"}}', "worker.a.http", "escape it"),
        ("worker: {a: {http: 'https://h', http_method: 'GET / x'}}", "worker.a.http_method", "'GET / X'"),
        ("worker: {a: {http: 'https://h', headers: {'X: y': z}}}", "worker.a.headers.X: y", "is no name of a header"),
        ('worker: {a: {http: "https://h", headers: {X: "a\\r\\nY: z"}}}', "worker.a.headers.X", "printable ASCII"),
        ("worker: {a: {http: 'https://h', headers: {Host: x}}}", "worker.a.headers.Host", "set by the sender alone"),
        (
            "worker: {a: {http: 'https://h', headers: {transfer-encoding: x}}}",
            "worker.a.headers.transfer-encoding",
            "set by the sender alone",
        ),
        ("worker: {a: {http: 'https://h', allow: ['10.0.0.1/8']}}", "worker.a.allow[0]", "is no network"),
        ("worker: {a: {http: 'https://h', allow: ['a*b']}}", "worker.a.allow[0]", "is no host and no network"),
        ("worker:\n  a: {exec: x}\nworker.a.exec: y", "worker.a.exec", "key 'exec' is there twice, first on line 2"),
        ("http_tokens: maybe", "http_tokens", "http_tokens is 'maybe'"),
        ("access: {basic: {ann: {}}}", "access.basic.ann", "neither 'password' nor 'password_file'"),
        ("access: {basic: {ann: {password: a, password_file: b}}}", "access.basic.ann", "both 'password' and"),
        ("access: {basic: {ann: {password: a, workflows: a b}}}", "access.basic.ann.workflows[0]", "match pattern"),
        ("access: {forward: {}}", "access.forward.proxies", "field required"),
        ("access: {forward: {proxies: [10.0.0.256]}}", "access.forward.proxies[0]", "no address and no network"),
        ("access: {forward: {proxies: 10.0.0.1, users: {ann: root}}}", "access.forward.users.ann", "'root'"),
        ("policy: {control_plane: {grant: [a], promote: [b]}}", "policy.control_plane.promote[0]", "granted nothing"),
        ("policy: {control_plane: {grant: [a b]}}", "policy.control_plane.grant[0]", "'a b'"),
        (
            "policy: {control_plane: {quotas: {max_depth: 9}}}",
            "policy.control_plane.quotas.max_depth",
            "less than or equal to 8",
        ),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_place(text: str, path: str, said: str) -> None:
    problem = problems(text)[path]
    assert said in problem.message
    assert problem.source.startswith("dagnats.yaml:")


def test_at_most_fifty_workers_are_configured() -> None:
    lines = "".join(f"worker.t{n}.exec: x\n" for n in range(51))
    assert "at most 50 items" in problems(lines)["worker"].message


# -- what is read ----------------------------------------------------------------------------------------------


def test_a_worker_may_be_written_on_one_line() -> None:
    settings = configured("worker.lint.run.exec: ruff check -\nworker.lint.run.timeout: 30s\n").settings
    assert settings.worker["lint.run"].exec == ("ruff", "check", "-")
    assert settings.worker["lint.run"].limit == timedelta(seconds=30)


def test_a_command_may_be_a_list_whose_words_stay_as_they_are() -> None:
    settings = configured("worker: {a: {exec: [printf, '%s $HOME; ls', 'b c']}}").settings
    assert settings.worker["a"].exec == ("printf", "%s $HOME; ls", "b c")


def test_the_policy_is_there_for_who_asks() -> None:
    plane = configured(
        "policy:\n  control_plane:\n    grant: [planner, agent]\n    promote: [agent]\n    quotas: {max_depth: 2}\n"
    ).settings.policy.control_plane
    assert (plane.grant, plane.promote) == (("planner", "agent"), ("agent",))
    assert (plane.quotas.max_depth, plane.quotas.max_active_runs) == (2, 100)
    assert load("").settings.policy.control_plane == plane


def test_workflows_are_definitions_as_their_json_has_them() -> None:
    (definition,) = configured(
        "workflows:\n- {name: nightly, timeout: 10m, steps: [{id: a, task: x}, {id: b, task: y, depends_on: [a]}]}\n"
    ).workflows
    assert (definition.name, [step.id for step in definition.steps]) == ("nightly", ["a", "b"])
    assert {value.key: value.text for value in shown(load())}["workflows"] == "nightly"


def test_every_problem_of_a_workflow_is_told_with_its_line() -> None:
    found = problems(
        "workflows:\n- name: a\n  steps:\n  - {id: x, task: t}\n  - id: y\n    task: t\n"
        "    depends_on: [xx]\n    retry: {max_attempts: 1, wait: 2s}\n- {name: a, steps: [{id: x, task: t}]}\n"
    )
    assert {path: (problem.rule, problem.source) for path, problem in found.items()} == {
        "workflows[0].steps[1].depends_on[0]": ("unknown-step", "dagnats.yaml:7"),
        "workflows[0].steps[1].retry.wait": ("unknown-key", "dagnats.yaml:8"),
        "workflows[1].name": ("duplicate-key", "dagnats.yaml:9"),
    }


def test_where_the_server_is_can_be_read_while_the_rest_is_wrong() -> None:
    write("data_dir: store\nnats_prot: 1\nsync: often\nworkflows: [{name: '?'}]\n")
    assert load_place().settings.data_dir == str(Path("store").absolute())
    write("data_dir: store\nurl: ftp://h\nnats_prot: 1\n")
    with pytest.raises(ConfigurationError) as refused:
        load_place()
    assert [problem.path for problem in refused.value.problems] == ["url"]


def test_nobody_is_granted_anything_by_default() -> None:
    assert load().settings.policy.control_plane.grant == ()


def test_off_is_no_namespace_where_a_file_names_one() -> None:
    write("namespace: staging\n")
    assert load().settings.namespace == "staging"
    assert load(namespace="off").settings.namespace == ""


def test_off_is_no_limit() -> None:
    settings = configured("retention: off\nretention_runs: off\n").settings
    assert (settings.retention, settings.retention_runs) == (None, None)


def test_who_is_let_in_may_be_one_or_several_and_a_password_lies_beside_the_file() -> None:
    found = configured(
        "access:\n  basic: {ann: {password_file: ann.secret, workflows: order-*}}\n"
        "  forward: {proxies: 10.0.0.7, users: {bob: admin}}\n"
    )
    access = found.settings.access
    assert access.basic["ann"].password_file == str(Path.cwd() / "ann.secret")
    assert access.basic["ann"].workflows == ("order-*",)
    assert access.forward is not None
    assert access.forward.proxies == ("10.0.0.7/32",)
    texts = {value.key: value.text for value in shown(found)}
    assert (texts["access.basic.ann.scope"], texts["access.forward.users"]) == ("read", "bob: admin")


# -- secrets ---------------------------------------------------------------------------------------------------


def test_no_secret_is_in_what_is_shown() -> None:
    write(SECRET, "token")
    found = configured(
        f"url: nats://user:{SECRET}@nats.example:4222\n"
        "token_file: token\n"
        f"access: {{basic: {{ann: {{password: {SECRET}}}}}}}\n"
        "worker:\n"
        f"  a: {{http: 'https://u:{SECRET}@h.example:8443/x/{SECRET}?k={SECRET}', headers: {{X-Key: {SECRET}}}}}\n"
    )
    texts = {value.key: value.text for value in shown(found)}
    assert SECRET not in repr(found) + repr(shown(found))
    assert texts["url"] == "nats://***@nats.example:4222"
    assert texts["token"] == "***"
    assert texts["worker.a.http"] == "https://h.example:8443/***"
    assert texts["worker.a.headers"] == "X-Key"


@pytest.mark.parametrize(
    "text",
    [
        f"token: [{SECRET}]",
        f"token: {{{SECRET}: 1}}",
        f"url: 'ftp://u:{SECRET}@h'",
        f"worker: {{a: {{http: 'ftp://{SECRET}'}}}}",
        f"worker: {{a: {{http: ['{SECRET}']}}}}",
        f'worker: {{a: {{exec: "\'{SECRET}"}}}}',
        f"worker: {{a: {{http: 'https://h', headers: {{X: \"{SECRET}\\n\"}}}}}}",
        f"worker: {{a: {{http: 'https://h', headers: ['{SECRET}']}}}}",
        f"access: {{basic: {{ann: {SECRET}}}}}",
        f"access: {{basic: {{ann: {{password: ['{SECRET}']}}}}}}",
        f"access: {{basic: {{ann: {{password: {SECRET}, scope: root, workflows: 'a b'}}}}}}",
        f"token: '{SECRET}",
        f"token: @{SECRET}",
    ],
)
def test_no_secret_is_in_what_is_said_about_a_mistake(text: str) -> None:
    write(text)
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert SECRET not in str(refused.value) + repr(refused.value.problems)
    assert refused.value.__cause__ is None
