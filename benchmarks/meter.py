"""What a process has used, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """The seconds of CPU that a process has had, in user and in kernel mode."""
    # The name, in brackets, may have spaces; the 14th and 15th field are meant.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def memory_mb(pid: int, *, most: bool = False) -> float:
    """The memory that a process has resident; the most that it ever had, or had since `forget_most`."""
    field = "VmHWM:" if most else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) / 1024


def forget_most(pid: int) -> None:
    """Have `memory_mb` count the most anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
