"""Order is the log's, never a clock's: not even Postgres', which a failover may set back by a day."""

from datetime import UTC, datetime, timedelta

import pytest

from infra.local.addresses import Address
from lineage import diff, relay, seal
from lineage.append import NextBatch, next_batch
from lineage.audit import ask, find
from lineage.ports import Connection
from lineage.projection import digest
from tasks.load import commit
from tests.fixtures.commit import a_batch, message
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.proof import House, a_house
from tests.integration.test_audit import SOURCE, STORED, version

IN_FORCE = "SELECT transformation_id FROM store.reigns ORDER BY reign DESC LIMIT 1"


async def a_day_ahead(connection: Connection) -> NextBatch:
    number, at = await next_batch(connection)
    return NextBatch(number, at + timedelta(days=1))


async def sources(house: House, **when: datetime) -> list[str]:
    answer = await ask(house.graph, find("column-upstream"), {"column": f"{STORED}.temperature"}, **when)
    return [row[0].removeprefix(f"{SOURCE}.") for row in answer.rows]


async def test_the_version_in_force_is_the_one_that_the_log_says_last(
    postgres_dsn: str, graph_address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 2 is introduced a day ahead; then the clock is right again, and version 3 is introduced."""
    async with a_house(postgres_dsn, graph_address) as house:
        await version(house, "1", "kelvin").take(a_batch(message("a", 1)))
        monkeypatch.setattr(commit, "next_batch", a_day_ahead)
        await version(house, "2", "celsius").take(a_batch(message("a", 2)))
        monkeypatch.undo()
        between = datetime.now(UTC)
        await version(house, "3", "rankine").take(a_batch(message("a", 3)))
        await relay.catch_up(house.connection, house.graph)
        assert await house.connection.fetchval(IN_FORCE) == "sensors@3"
        assert await sources(house) == ["rankine"]
        assert await sources(house, valid_at=datetime.now(UTC)) == ["rankine"]
        assert await sources(house, valid_at=between) == ["celsius"]
        now = await diff.columns_at(house.graph, datetime.now(UTC), "sensors")
        assert [pair.source for pair in now if pair.target.endswith(".temperature")] == [f"{SOURCE}.rankine"]
        before = digest(await in_graph(house.graph))
        await relay.rebuild(house.connection, house.graph)
        assert digest(await in_graph(house.graph)) == before == digest(await of_log(house.connection))
        assert (await house.prove()).differences == ()
        await house.connection.execute("ALTER TABLE store.reigns ALTER reign DROP IDENTITY")
        await house.tamper("reigns", "UPDATE store.reigns SET reign = 9 WHERE reign = 2")
        assert "reigns, batch 2: number 2 is not that of sensors@2" in (await house.prove()).differences


async def test_a_writer_whose_time_is_behind_holds_no_other_up(
    postgres_dsn: str, graph_address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes more than a seal has room for, again and again; what came a day ahead is sealed too."""
    monkeypatch.setattr(seal, "PAGE", 3)
    async with a_house(postgres_dsn, graph_address) as house, a_house(postgres_dsn, graph_address) as ahead:
        await house.way.take(a_batch(message("a", 0)))
        with monkeypatch.context() as patched:
            patched.setattr(commit, "next_batch", a_day_ahead)
            await ahead.way.take(a_batch(message("b", 0)))
        for second in range(1, 40):
            await house.way.take(a_batch(message("a", second)))
            async with relay.relay_lock(house.connection):
                await seal.seal(house.connection)
        unsealed = {row["writer"]: row["number"] for row in await house.connection.fetch(seal.UNSEALED)}
        assert unsealed.get(2, 1) > 0
