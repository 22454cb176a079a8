"""The command line: each command parses, calls the client or the runtime, and prints."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command on this process's command line and end the process with its exit code."""
    gc.disable()  # looking for garbage among modules that load is a tenth of `--help`
    try:
        from dagnats.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the modules load
        code = 130
    sys.exit(code)
