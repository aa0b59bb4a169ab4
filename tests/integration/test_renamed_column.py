"""Columns that leave a contract or are called otherwise: no value is lost, and every proof holds."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from lineage.errors import ContractError, HeadwaterError
from lineage.model import Transformation
from tasks.again.reread import CurrentPipeline
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.load.commit import load
from tasks.load.plan import LoadPlan
from tasks.load.prepare import prepare
from tasks.tables.tables import prepare_table
from tasks.transform import records
from tests.fixtures.commit import CONTRACT, REFERENCE, a_batch, a_plan, message
from tests.fixtures.readings import steps_of, topics_of
from tests.fixtures.recall import House, a_house
from tests.fixtures.replay import sensors

DERIVED = ("heat_index", "dew_point")
HISTORY = "SELECT humidity FROM store.sensor_readings_history ORDER BY device_id"


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with a_house(postgres_dsn) as house:
        yield house


def without_humidity() -> Contract:
    gone = ("humidity", *DERIVED)
    columns = tuple(column for column in CONTRACT.columns if column.name not in gone)
    return CONTRACT.model_copy(update={"columns": columns, "version": 2})


def moist(version: int = 2, **also: object) -> Contract:
    """The contract whose `humidity` is called `moisture`, read from where it always stood."""
    columns = tuple(
        column.model_copy(update={"name": "moisture", "was": "humidity", "path": ("humidity",), **also})
        if column.name == "humidity"
        else column
        for column in CONTRACT.columns
        if column.name not in DERIVED
    )
    return CONTRACT.model_copy(update={"columns": columns, "version": version})


def today(contract: Contract) -> CurrentPipeline:
    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        return records.refine(batch, reference, Decoder(contract), topics_of(batch), steps_of(contract))

    return replace(sensors(100.0), plan=plan_of(contract), refine=refine)


def plan_of(contract: Contract) -> LoadPlan:
    version = Transformation(name="sensors", version=f"of contract {contract.version}")
    return replace(a_plan(contract), transformation=version)


async def take(house: House, contract: Contract, *messages: tuple[str, bytes]) -> Receipt:
    batch, plan = a_batch(*messages), plan_of(contract)
    refined = await today(contract).refine(batch, REFERENCE)
    return await load(house.way.store, plan, prepare(batch, refined, plan))


async def test_values_of_a_column_that_left_are_told_and_kept_in_history(house: House) -> None:
    first = await house.take(message("a", 1, humidity=40), message("b", 1, humidity=50), message("c", 1))
    contract = without_humidity()
    await prepare_table(house.connection, contract)
    dry = await house.reprocess(first.batch, today(contract), dry_run=True)
    assert dry.changes["sensor_readings"].lost == {"dew_point": 2, "heat_index": 2, "humidity": 2}
    await house.reprocess(first.batch, today(contract))
    assert await house.fetch("SELECT humidity FROM sensor_readings") == [(None,)] * 3
    assert await house.fetch(HISTORY) == [(40.0,), (50.0,), (None,)]
    await house.proves()
    assert (await house.reprocess(first.batch, today(contract))).receipt is None
    back = await house.reprocess(first.batch, today(CONTRACT))  # it comes back, and so do its values
    assert back.receipt is not None
    assert await house.fetch("SELECT humidity FROM sensor_readings ORDER BY device_id") == [
        (40.0,),
        (50.0,),
        (None,),
    ]
    await house.proves()


async def test_a_renamed_column_keeps_its_values_and_every_row_proves(house: House) -> None:
    first = await house.take(message("a", 1, humidity=40), message("b", 1))
    await prepare_table(house.connection, moist())
    assert await house.fetch("SELECT moisture FROM sensor_readings ORDER BY device_id") == [(40.0,), (None,)]
    await take(house, moist(), message("c", 1, humidity=60))
    await house.proves()
    done = await house.reprocess(first.batch, today(moist()))
    changes = done.changes["sensor_readings"]
    assert (changes.changed, changes.withdrawn, changes.lost) == (0, 0, {})
    await house.proves()
    values = "SELECT moisture FROM sensor_readings ORDER BY device_id"
    assert await house.fetch(values) == [(40.0,), (None,), (60.0,)]


async def test_a_changed_row_of_a_renamed_column_proves_in_history(house: House) -> None:
    first = await house.take(message("a", 1, humidity=40))
    narrow = moist(maximum=30)
    await prepare_table(house.connection, narrow)
    done = await house.reprocess(first.batch, today(narrow))
    assert done.rejected == 1
    assert await house.fetch("SELECT moisture FROM store.sensor_readings_history") == [(40.0,)]
    await house.proves()


async def test_two_hosts_with_the_old_and_the_new_name_do_not_both_write(house: House) -> None:
    await house.take(message("a", 1, humidity=40))
    await prepare_table(house.connection, moist())
    with pytest.raises((HeadwaterError, asyncpg.PostgresError), match="humidity"):
        await house.take(message("a", 2, humidity=40))
    for old in (CONTRACT, CONTRACT.model_copy(update={"doc": "the old one, edited"})):
        with pytest.raises(ContractError, match="humidity is called moisture by now"):
            await prepare_table(house.connection, old)
    assert await house.value("SELECT count(*) FROM sensor_readings") == 1
    await take(house, moist(), message("a", 2, humidity=40))
    await house.proves()


async def test_a_column_may_get_its_name_back(house: House) -> None:
    await house.take(message("a", 1, humidity=40))
    await prepare_table(house.connection, moist())
    await take(house, moist(), message("b", 1, humidity=50))
    columns = tuple(
        column.model_copy(update={"was": "moisture"}) if column.name == "humidity" else column
        for column in CONTRACT.columns
    )
    back = CONTRACT.model_copy(update={"columns": columns, "version": 3})
    await prepare_table(house.connection, back)
    with pytest.raises(ContractError, match="moisture is called humidity by now"):
        await prepare_table(house.connection, moist())
    await take(house, back, message("c", 1, humidity=60))
    values = "SELECT humidity FROM sensor_readings ORDER BY device_id"
    assert await house.fetch(values) == [(40.0,), (50.0,), (60.0,)]
    await house.proves()


async def test_a_name_that_another_column_has_is_refused(house: House) -> None:
    both = (*CONTRACT.columns, CONTRACT.column("humidity").model_copy(update={"name": "moisture"}))
    await prepare_table(house.connection, CONTRACT.model_copy(update={"columns": both}))
    with pytest.raises(ContractError, match="holds both humidity and moisture"):
        await prepare_table(house.connection, moist())


def test_a_key_keeps_its_name() -> None:
    columns = [column.model_dump() for column in CONTRACT.columns]
    columns[0]["was"] = "device"
    with pytest.raises(ValueError, match="device_id, was device"):
        Contract.model_validate({**CONTRACT.model_dump(), "columns": columns})
