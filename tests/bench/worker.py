"""The worker of the bench: `headwater serve` as it is, with a clock in the flow of pulls.

`python -m tests.bench.worker` prints {"ready": true}, then a line of JSON per stored experiment: its batch,
and when (seconds since 1970) its flow began and each stage was done. Until SIGTERM.
"""

import asyncio
import json
import time
from contextvars import ContextVar
from typing import Any

from console.cli.start import start_prefect
from tests.fixtures.catalogs import SHIPPED


def main() -> None:
    settings = start_prefect()  # before the imports, as every command does it
    from flows.batch import pull
    from flows.process import lifecycle
    from flows.worker import serve

    done = ContextVar[dict[str, float]]("done")
    load = pull.load

    def first_line() -> Any:
        done.set({"began": time.time()})
        return load()

    def note(stage: str, result: Any) -> Any:
        done.get().setdefault(stage, time.time())
        return result

    class Extracting(pull._Extracting):
        async def _next(self) -> Any:
            return note("collect", await super()._next())

    class Carrying(pull.Carrying):
        async def _transform(self, *given: Any) -> Any:
            return note("process", await super()._transform(*given))

        async def _load(self, *given: Any) -> Any:
            return note("store", await super()._load(*given))

        async def _verify(self, receipt: Any) -> None:
            note("verify", await super()._verify(receipt))
            print(json.dumps({"batch": receipt.batch, **done.get()}), flush=True)

    pull.load, pull._Extracting, pull.Carrying = first_line, Extracting, Carrying  # type: ignore[misc]
    running = lifecycle.State.running

    def ready(state: Any, doing: str) -> None:
        running(state, doing)
        print(json.dumps({"ready": True}), flush=True)

    lifecycle.State.running = ready  # type: ignore[method-assign]
    asyncio.run(serve.serve(settings, SHIPPED))


if __name__ == "__main__":
    main()
