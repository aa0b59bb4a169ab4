"""The reference of the trigger: a flow that is served, by a runner that looks for runs every second.

`python -m tests.bench.by_hand` prints {"ready": true}. The flow needs nothing of ours: less to import.
"""

import asyncio
import json
import time
from pathlib import Path

from prefect import flow
from prefect.runner import Runner

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


async def main() -> None:
    runner = Runner(name=NAME)
    await runner.aadd_deployment(await by_hand.ato_deployment(name=NAME))
    print(json.dumps({"ready": True}), flush=True)
    await runner.start()


if __name__ == "__main__":
    asyncio.run(main())
