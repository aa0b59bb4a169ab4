"""The proof of aggregates: of each hour the newest batch counts, and any other row is found."""

import pytest

from infra.local.addresses import Address
from lineage.errors import VerificationError
from tasks.derived.refresh import Refreshed, refresh
from tests.fixtures.aggregates import HOURLY, a_run, at, prepared, reading
from tests.fixtures.commit import a_batch
from tests.fixtures.proof import House, a_house

TABLE = "sensor_readings_hourly"
TAMPERINGS: dict[str, tuple[str, str]] = {
    "an edited value": (
        f"UPDATE store.{TABLE} SET temperature_mean = 0 WHERE device_id = 'a' AND batch = 4",
        f"{TABLE}, hour 2026-11-20T01Z, batch 4: the values of its 2 row(s) are not those recorded",
    ),
    "a deleted row": (
        f"DELETE FROM store.{TABLE} WHERE device_id = 'a' AND batch = 4",
        f"{TABLE}, hour 2026-11-20T01Z, batch 4: 2 row(s) recorded, 1 stored",
    ),
    "a row of a batch that was superseded": (
        f"UPDATE store.{TABLE} SET batch = 2 WHERE device_id = 'a' AND batch = 4",
        f"{TABLE}, hour 2026-11-20T01Z: 1 row(s) of batch 2, which is not the newest recorded for it",
    ),
}


async def refreshed(house: House) -> Refreshed:
    return await refresh(house.way.store, HOURLY, a_run(), buckets_per_transaction=48)


async def furnish_hours(house: House) -> None:
    """Batch 1 and its hours (2), then a late reading (3) that makes one of them again (4)."""
    await prepared(house.connection)
    await house.way.take(a_batch(reading("a", at(1, 5)), reading("a", at(2, 5)), reading("b", at(2, 6))))
    await refreshed(house)
    await house.way.take(a_batch(reading("b", at(1, 7))))
    await refreshed(house)
    assert await house.way.value("SELECT max(batch) FROM ledger") == 4


async def test_hours_made_again_are_proved_on_both_graphs(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish_hours(house)
        proof = await house.prove()
        assert proof.differences == ()
        assert (proof.batches, proof.rows) == (4, 4 + 4)
        for number in range(1, 5):
            await house.verify(number)


async def test_a_lost_change_mark_is_found(postgres_dsn: str, graph_address: Address) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await furnish_hours(house)
        await house.way.take(a_batch(reading("c", at(1, 9)), reading("c", at(3, 9))))
        assert (await house.prove()).differences == ()  # the marks wait
        await house.connection.execute("DELETE FROM store.change_marks WHERE bucket = $1", at(1))
        await refreshed(house)
        assert (await house.prove()).differences == (
            "sensor_readings, batch 5, hour 2026-11-20T01Z: its mark is lost, "
            "sensor_readings_hourly is not made from it",
        )


@pytest.mark.parametrize("kind", TAMPERINGS)
async def test_a_changed_hour_is_found_and_named(
    postgres_dsn: str, graph_address: Address, kind: str
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await furnish_hours(house)
        statement, sentence = TAMPERINGS[kind]
        await house.tamper(TABLE, statement)
        proof = await house.prove()
        assert any(each.startswith(sentence) for each in proof.differences), proof.differences
        with pytest.raises(VerificationError, match=TABLE):
            await house.verify(4)
