"""`backup` and `restore` as a person types them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


def test_a_backup_of_a_running_system_is_restored_into_an_empty_folder(
    served: CommandLine, project: CommandLine, tmp_path: Path
) -> None:
    file = str(tmp_path / "b.tar")
    assert served("run", "start", "waiting", "--run-id", "backed-up-run").code == 0
    taken = served("backup", file, "--json").json()
    assert {each["name"] for each in taken["streams"]} >= {"WORKFLOW_HISTORY", "KV_workflow_defs", "KV_secrets"}

    refused = served("restore", file, "--force")
    assert (refused.code, "an engine leads on this server" in refused.err) == (2, True)

    checked = project("restore", file, "--dry-run")
    assert (checked.code, "Would restore" in checked.out) == (0, True)
    restored = project("restore", file, "--json")
    assert (restored.code, restored.json()["dry_run"], restored.json()["messages"] > 0) == (0, False, True)

    again = project("restore", file)
    assert (again.code, "the store is not empty" in again.err, "--force" in again.err) == (2, True, True)
    told = project("backup", file)  # of a store that nobody serves
    assert (told.code, told.out.startswith("Backed up: "), file in told.out) == (0, True, True)


def test_what_cannot_be_backed_up_or_restored_says_why(project: CommandLine, tmp_path: Path) -> None:
    nothing = project("backup", str(tmp_path / "b.tar"))
    assert (nothing.code, "there is no store" in nothing.err) == (3, True)
    folder = project("backup", str(tmp_path))
    assert (folder.code, "is a folder" in folder.err) == (2, True)
    nowhere = project("backup", str(tmp_path / "no" / "b.tar"))
    assert (nowhere.code, "does not exist" in nowhere.err) == (2, True)
    missing = project("restore", str(tmp_path / "b.tar"))
    assert (missing.code, "b.tar: No such file or directory" in missing.err) == (2, True)
    (tmp_path / "b.tar").write_text("x" * 2000)
    other = project("restore", str(tmp_path / "b.tar"), "--json")
    assert (other.code, "is no backup" in other.json()["error"]["message"]) == (2, True)
    assert not project.data.exists()
