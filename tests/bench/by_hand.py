"""The reference of the trigger: a flow that is served, by a runner that looks for runs every second.

`python -m tests.bench.by_hand` prints {"ready": true}. The flow needs nothing of ours: less to import.
"""

import json
import os
import time
from pathlib import Path

from prefect import flow, serve

NAME = "by-hand"


@flow(name=NAME, persist_result=False)
async def by_hand(note: str) -> None:
    """Its first line writes down when it is."""
    _write(Path(note), repr(time.time()))


def _write(note: Path, text: str) -> None:
    """It appears whole."""
    draft = note.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.rename(note)


def main() -> None:
    deployment = by_hand.to_deployment(name=NAME)
    os.write(1, (json.dumps({"ready": True}) + "\n").encode())
    serve(deployment)


if __name__ == "__main__":
    main()
