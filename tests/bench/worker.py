"""The worker of the bench: `headwater serve` as it is, with a clock in the flow of experiments.

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
    from flows.batch import experiments
    from flows.worker import serve

    began = ContextVar[float]("began")
    load = experiments.load

    def first_line() -> Any:
        began.set(time.time())
        return load()

    class Timed(experiments._Work):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.done = {"began": began.get()}

        async def extract(self, *given: Any) -> Any:
            return self._note("collect", await super().extract(*given))

        async def transform(self, *given: Any) -> Any:
            return self._note("process", await super().transform(*given))

        async def load(self, *given: Any) -> Any:
            return self._note("store", await super().load(*given))

        async def verify(self, receipt: Any) -> None:
            await super().verify(receipt)
            self._note("verify", None)
            print(json.dumps({"batch": receipt.batch, **self.done}), flush=True)

        def _note(self, stage: str, result: Any) -> Any:
            self.done[stage] = time.time()
            return result

    experiments.load, experiments._Work = first_line, Timed  # type: ignore[misc]
    running = serve.process.State.running

    def ready(state: Any, doing: str) -> None:
        running(state, doing)
        print(json.dumps({"ready": True}), flush=True)

    serve.process.State.running = ready  # type: ignore[method-assign]
    asyncio.run(serve.serve(settings, SHIPPED))


if __name__ == "__main__":
    main()
