"""What a process has used, as Linux tells it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def cpu_s(pid: int) -> float:
    """The seconds of CPU that a process's threads have had, without those that have ended."""
    spent_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has ended just now
            # To the nanosecond. The times in `stat` are in ticks of 10 ms, too coarse for a part of a short run.
            spent_ns += int((thread / "schedstat").read_text().split()[0])
    return spent_ns / 1e9


def memory_mb(pid: int, *, most: bool = False) -> float:
    """The memory that a process has resident; the most that it ever had, or had since `forget_most`."""
    field = "VmHWM:" if most else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) / 1024


def forget_most(pid: int) -> None:
    """Have `memory_mb` count the most anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
