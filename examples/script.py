"""A script: it starts a run, follows it, and prints what came of it. See docs/clients.md."""

# --8<-- [start:script]
import sys

from dagnats import Client, RunFailed


def main(name: str) -> None:
    with Client() as client:  # the local `serve`; or Client("https://dagnats.example.org", token="…")
        run = client.start("hello-pipeline", name, labels={"from": "script"})
        for event in run.events():
            print(event.type, event.step_id)
        try:
            print(run.result(str, timeout="1m"))
        except RunFailed as failed:
            sys.exit(f"step {failed.step!r} failed: {failed.error}")


if __name__ == "__main__":
    main("Ada")
# --8<-- [end:script]
