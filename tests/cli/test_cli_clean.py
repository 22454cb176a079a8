"""What `clean` would take away, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.cli.clean import tell_dry_run
from dagnats.cli.option import Options, use
from dagnats.client.clean import Place

if TYPE_CHECKING:
    import pytest


def test_what_would_leave_stands_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    use(Options())  # a command that another test has carried out here may have asked for JSON
    places = [Place("HISTORY", "stream", 1042, 12_897_485), Place("TASKS", "stream", 0, 0), Place("runs", "kv", 28, 0)]

    tell_dry_run(places)

    assert capsys.readouterr().out.splitlines() == [
        "Would clean:",
        "  HISTORY  stream  1042 msgs  12.3 MiB",
        "  TASKS    stream  0 msgs     0 B",
        "  runs     kv      28 keys",
        "Total: 1042 messages, 12.3 MiB",
    ]
