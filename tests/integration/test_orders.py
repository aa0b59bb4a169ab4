"""Every act on a reading, filters, folds and new contracts in random orders: the end is today's code's."""

import pytest

from infra.local.addresses import Address
from tests.fixtures.orders import a_play


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_ends_where_todays_code_says(
    postgres_dsn: str, graph_address: Address, seed: int
) -> None:
    async with a_play(postgres_dsn, graph_address, seed) as play:
        await play.play(10)
