"""Replay, reprocess, drop, erase, quarantine, new contracts in random orders: the end is today's code's."""

import pytest

from tests.fixtures.orders import a_play


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_ends_where_todays_code_says(postgres_dsn: str, seed: int) -> None:
    async with a_play(postgres_dsn, seed) as play:
        await play.play(8)
