"""The relay of the bench: `headwater relay` as it is; prints as JSON when each batch was in the graph.

`python -m tests.bench.carrier`, until SIGTERM.
"""

import asyncio
import json
import time
from typing import Any

from console.cli.start import start
from tests.fixtures.catalogs import SHIPPED


def main() -> None:
    settings = start()  # before the imports, as every command does it
    from flows import relay as process
    from lineage import relay

    write, known = relay._write, dict[int, float]()

    async def timed(connection: Any, graph: Any, bucket: Any) -> None:
        await write(connection, graph, bucket)
        for entry in bucket.entries:
            known.setdefault(entry.batch, time.time())

    relay._write = timed
    resume = relay.resume

    async def ready(connection: Any, graph: Any) -> bool:
        print(json.dumps({"ready": True}), flush=True)
        return await resume(connection, graph)

    relay.resume = ready
    asyncio.run(process.relay(settings, SHIPPED))
    print(json.dumps({"batches": list(known.items())}), flush=True)


if __name__ == "__main__":
    main()
