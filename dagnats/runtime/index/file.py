"""Where a server's index is kept: a file that nobody else writes."""

from __future__ import annotations

import fcntl
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagnats.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_MOST = 16  # servers of one user on one machine, all beside the same NATS server


@contextmanager
def index_file(folder: Path, url: str, namespace: str = "") -> Generator[Path]:
    """The file of one server of a namespace at `url`: the same one as last time, unless another server has it.

    Raises:
        ConflictError: All that there may be are taken.
    """
    place = f"{url} {namespace}" if namespace else url
    name = hashlib.sha256(place.encode()).hexdigest()[:8]
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(_MOST):
        lock = folder / f"index-{name}-{number}.lock"
        with lock.open("ab") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield lock.with_suffix(".sqlite")
            return
    raise ConflictError(f"{_MOST} servers keep an index in {folder} already", hint="set DAGNATS_DATA_DIR for this one")
