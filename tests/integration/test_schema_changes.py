"""Schemas that change while listeners run: a new field, another type, a tighter contract."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest

from infra.migrate import LOCK
from infra.postgres import Pool, connect, open_pool
from lineage.errors import ContractError
from lineage.model import Transformation
from lineage.proof.batches import verify_batch
from tasks.batch import RawBatch, Receipt
from tasks.contract import Column, ColumnType, Contract
from tasks.decode.messages import Decoder
from tasks.load.commit import load
from tasks.load.plan import LoadPlan
from tasks.load.prepare import prepare
from tasks.load.store import Store
from tasks.look.verify import stored_shapes
from tasks.tables.tables import prepare_table
from tasks.transform import records
from tests.fixtures.commit import CONTRACT, REFERENCE, a_batch, a_plan, message
from tests.fixtures.readings import steps_of, topics_of
from tests.fixtures.replay import with_maximum

TABLE = CONTRACT.table
COLUMNS = (
    "SELECT count(*) FROM information_schema.columns "
    f"WHERE table_schema = '{{}}' AND table_name = '{TABLE}' AND column_name = 'battery'"
)


def with_battery(type_: ColumnType = ColumnType.FLOAT) -> Contract:
    """The next version of the contract: devices may say how full their battery is."""
    battery = Column(name="battery", type=type_, unit="%", minimum=0, maximum=100)
    return CONTRACT.model_copy(update={"columns": (*CONTRACT.columns, battery), "version": 2})


@dataclass
class Listener:
    """A listener under one version of the contract, as it was when it started."""

    store: Store
    contract: Contract
    plan: LoadPlan

    async def take(self, batch: RawBatch) -> Receipt:
        refined = records.refine(
            batch, REFERENCE, Decoder(self.contract), topics_of(batch), steps_of(self.contract)
        )
        return await load(self.store, self.plan, prepare(batch, refined, self.plan))


class House:
    """One Postgres, and listeners that start one after the other."""

    def __init__(self, dsn: str, pool: Pool, stack: AsyncExitStack) -> None:
        self.dsn, self.pool, self._stack = dsn, pool, stack

    async def start(self, contract: Contract) -> Listener:
        """As a listener does: prepare the tables, then ingest."""
        await self.prepare(contract)
        store = await self._stack.enter_async_context(Store(self.dsn, self.pool, application="test"))
        version = Transformation(name="sensors", version=str(contract.version))
        return Listener(store, contract, replace(a_plan(contract), transformation=version))

    async def prepare(self, contract: Contract) -> None:
        connection = await connect(self.dsn, application="test")
        try:
            await prepare_table(connection, contract)
        finally:
            await connection.close()

    async def proves(self) -> None:
        async with self.pool.acquire() as connection:
            shapes = await stored_shapes(connection)
            for row in await connection.fetch("SELECT batch FROM ledger"):
                await verify_batch(connection, row["batch"], shapes)


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(postgres_dsn, application="test"))
        yield House(postgres_dsn, pool, stack)


@pytest.mark.parametrize("may_repeat", [False, True])
async def test_what_is_stored_is_a_duplicate_under_a_contract_that_reads_more_of_it(
    house: House, may_repeat: bool
) -> None:
    """Its input hash covers the new column too; its bytes are the same."""
    messages = message("a", 1), message("a", 2, battery=60), message("a", 3, battery=150)
    await (await house.start(CONTRACT)).take(a_batch(*messages))
    rival = message("a", 1, temperature=1.0)
    new = await house.start(with_battery())
    again = await new.take(a_batch(*messages[:2], rival, message("a", 4), may_repeat=may_repeat))
    assert (again.accepted["sensor_readings"], again.rejected, again.duplicates) == (1, 1, 2)
    again = await new.take(a_batch(messages[2], may_repeat=True))  # 150 %: it would be rejected today
    assert (again.rejected, again.duplicates) == (0, 1)
    rules = "SELECT rules FROM rejected"
    assert [row["rules"] for row in await house.pool.fetch(rules)] == [["key.conflict"]]
    await house.proves()


@pytest.mark.parametrize("beside_what_is_stored", [False, True])
async def test_a_rejected_record_sent_anew_is_judged_by_todays_contract_whatever_comes_with_it(
    house: House, beside_what_is_stored: bool
) -> None:
    stored, hot = message("a", 1), message("a", 2, temperature=99)
    old = await house.start(with_maximum(90))
    assert (await old.take(a_batch(stored, hot))).rejected == 1
    new = await house.start(with_maximum(100))
    anew = (stored, hot) if beside_what_is_stored else (hot,)
    receipt = await new.take(a_batch(*anew))
    assert (receipt.accepted["sensor_readings"], receipt.duplicates) == (1, len(anew) - 1)
    again = await new.take(a_batch(*anew, may_repeat=True))
    assert (again.accepted["sensor_readings"], again.duplicates) == (0, len(anew))
    await house.proves()


async def test_a_new_field_comes_while_an_old_listener_runs(house: House) -> None:
    old = await house.start(CONTRACT)
    await old.take(a_batch(message("a", 1, battery=70)))
    new = await house.start(with_battery())
    await asyncio.gather(
        old.take(a_batch(message("a", 2, battery=60))),
        new.take(a_batch(message("b", 2, battery=50), message("b", 3))),
    )
    await old.take(a_batch(message("a", 3), message("a", 2, battery=60), may_repeat=True))
    stored = await house.pool.fetch(
        'SELECT device_id, extract(second FROM "timestamp")::int AS s, battery '
        "FROM sensor_readings ORDER BY 1, 2"
    )
    assert [tuple(row) for row in stored] == [
        ("a", 1, None),
        ("a", 2, None),
        ("a", 3, None),
        ("b", 2, 50.0),
        ("b", 3, None),
    ]
    await house.proves()


async def test_many_who_bring_a_new_field_add_it_once_and_it_is_recorded(house: House) -> None:
    old = await house.start(CONTRACT)

    async def ingest() -> None:
        for second in range(20):
            await old.take(a_batch(message("a", second)))

    await asyncio.gather(ingest(), *(house.prepare(with_battery()) for _ in range(5)))
    for schema in ("store", "public"):
        assert await house.pool.fetchval(COLUMNS.format(schema)) == 1
    recorded = await house.pool.fetch(
        "SELECT version, contract #>> '{columns,-1,name}' AS last FROM store.contracts "
        "WHERE table_name = $1 ORDER BY prepared_at",
        TABLE,
    )
    assert [row["version"] for row in recorded] == [CONTRACT.version, 2]
    assert recorded[-1]["last"] == "battery"
    assert await house.pool.fetchval("SELECT count(*) FROM sensor_readings") == 20
    await house.prepare(CONTRACT)  # the old one starts again: nothing is taken away
    assert await house.pool.fetchval(COLUMNS.format("public")) == 1
    await house.proves()


async def test_a_field_is_added_under_the_lock(house: House) -> None:
    await house.start(CONTRACT)
    holding = await connect(house.dsn, application="test")
    await holding.execute("SELECT pg_advisory_lock($1)", LOCK)
    waiting = asyncio.create_task(house.prepare(with_battery()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 1.0)
    assert await house.pool.fetchval(COLUMNS.format("store")) == 0
    await holding.close()
    await waiting
    assert await house.pool.fetchval(COLUMNS.format("store")) == 1


async def test_a_column_does_not_change_its_type(house: House) -> None:
    await house.start(with_battery())
    with pytest.raises(ContractError, match=r"battery is stored as double precision .* a new name"):
        await house.prepare(with_battery(ColumnType.INTEGER))
    assert await house.pool.fetchval("SELECT count(*) FROM store.contracts") == 1


async def test_a_type_that_changes_in_the_messages_is_rejected_with_its_rule(house: House) -> None:
    listener = await house.start(CONTRACT)
    receipt = await listener.take(
        a_batch(
            message("a", 1),
            message("a", 2, temperature="20.5"),
            message("a", 3, temperature={"value": 20.5}),
            message("b", 4),
        )
    )
    assert (receipt.accepted, receipt.rejected) == ({TABLE: 2}, 2)
    rejected = await house.pool.fetch("SELECT sequence, rules, contract FROM rejected ORDER BY sequence")
    assert [tuple(row) for row in rejected] == [
        (1, ["temperature.type"], CONTRACT.version),
        (2, ["temperature.type"], CONTRACT.version),
    ]
    await house.proves()


async def test_a_tighter_contract_changes_no_verdict(house: House) -> None:
    loose, tight = await house.start(CONTRACT), await house.start(with_maximum(25.0))
    warm, hot = message("a", 1, temperature=30), message("a", 2, temperature=300)
    first = await loose.take(a_batch(warm, hot))
    stored = await house.pool.fetchrow("SELECT * FROM store.sensor_readings")
    again = await tight.take(a_batch(warm, hot, message("a", 3, temperature=30), may_repeat=True))
    assert (again.duplicates, again.rejected, again.accepted) == (2, 1, {TABLE: 0})
    assert await house.pool.fetchrow("SELECT * FROM store.sensor_readings") == stored
    made_by = await house.pool.fetchval(
        "SELECT transformation_id FROM sensor_readings JOIN ledger USING (batch)"
    )
    assert (stored["batch"], made_by) == (first.batch, f"sensors@{CONTRACT.version}")
    back = await loose.take(a_batch(message("a", 3, temperature=30), may_repeat=True))
    assert (back.duplicates, back.accepted) == (1, {TABLE: 0})  # what was rejected stays so
    rejected = await house.pool.fetch("SELECT sequence, contract FROM rejected ORDER BY sequence")
    assert [tuple(row) for row in rejected] == [(1, CONTRACT.version), (2, 25)]
    await house.proves()


async def test_what_is_stored_is_not_rejected_when_it_is_published_again_under_a_tighter_contract(
    house: House,
) -> None:
    """Nothing says that it may repeat: a publisher sent it a second time, long after."""
    loose, tight = await house.start(CONTRACT), await house.start(with_maximum(25.0))
    warm = message("a", 1, temperature=30)
    await loose.take(a_batch(warm))
    again = await tight.take(a_batch(warm, message("a", 2)))
    assert (again.duplicates, again.rejected, again.accepted) == (1, 0, {TABLE: 1})
    await house.proves()
