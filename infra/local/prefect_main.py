"""Prefect's command, with what nobody uses any more collected beside its event loop.

While a statement waits for another's lock, SQLite keeps its connection's mutex. A cursor of that connection
that is collected in the loop's thread waits for that mutex, and the loop with it; if whoever has the lock
waits for the loop, nothing goes on until the statement gives up, which Prefect allows 60 s. So no thread
collects on its way: one of its own does, which may wait.
"""

import gc
import runpy
import threading
import time

EVERY = 2.0  # seconds
ALL_EVERY = 30  # of those: the oldest generation too


def collect_beside() -> None:
    """Collect in a thread of its own from now on, and in no other."""
    gc.disable()
    threading.Thread(target=_collect, daemon=True).start()


def _collect() -> None:
    rounds = 0
    while True:
        time.sleep(EVERY)
        rounds += 1
        gc.collect(2 if rounds % ALL_EVERY == 0 else 1)


if __name__ == "__main__":
    collect_beside()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
