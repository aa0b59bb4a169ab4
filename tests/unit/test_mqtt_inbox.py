"""Taking from the inbox keeps order, loses nothing and keeps its limits."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from infra.mqtt.frames import Publishes
from infra.mqtt.inbox import Inbox, Read

START = datetime(2026, 1, 1, tzinfo=UTC)


def read(sizes: list[int], second: int) -> Read:
    payloads = [bytes(size) for size in sizes]
    at = START + timedelta(seconds=second)
    publishes = Publishes([b"t"] * len(sizes), payloads, [1] * len(sizes), [0x32] * len(sizes))
    publishes.size = sum(sizes) + 6 * len(sizes)
    return Read(publishes, at, at, float(second))


@given(
    reads=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=8), max_size=8),
    messages=st.integers(1, 10),
    size=st.integers(1, 200),
)
def test_every_message_is_taken_once_and_in_order(reads: list[list[int]], messages: int, size: int) -> None:
    inbox = Inbox()
    for second, sizes in enumerate(reads):
        inbox.add(read(sizes, second))
    seconds = [second for second, sizes in enumerate(reads) for _ in sizes]
    taken = []
    while (part := inbox.take(messages, size)) is not None:
        count = len(part.publishes)
        assert 1 <= count <= messages
        assert count == 1 or sum(map(len, part.publishes.payloads)) <= size
        assert part.clock == seconds[len(taken)]
        assert part.first_at == START + timedelta(seconds=seconds[len(taken)])
        taken += [len(payload) for payload in part.publishes.payloads]
        assert part.last_at == START + timedelta(seconds=seconds[len(taken) - 1])
    assert taken == [size for sizes in reads for size in sizes]
    assert inbox.messages == inbox.size == 0
    assert inbox.oldest is None
