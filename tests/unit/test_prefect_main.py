"""A Prefect server of ours is never held up by what it no longer uses."""

import gc
import threading
from collections.abc import Iterator

import pytest

from infra.local import prefect_main
from tests.fixtures.waiting import until


class Cycle:
    """Garbage that only a collection finds, and that notes which thread collects it."""

    def __init__(self, collected_in: list[int]) -> None:
        self.itself, self.collected_in = self, collected_in

    def __del__(self) -> None:
        self.collected_in.append(threading.get_ident())


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(prefect_main, "EVERY", 0.01)
    prefect_main.collect_beside()
    yield
    gc.enable()


async def test_garbage_is_collected_in_a_thread_of_its_own(beside: None) -> None:
    collected_in: list[int] = []
    for _ in range(10):
        Cycle(collected_in)
    junk = [[number] for number in range(20_000)]  # which would start a collection in this thread
    await until(lambda: len(collected_in) == 10)
    assert threading.get_ident() not in collected_in
    assert len(junk) == 20_000
