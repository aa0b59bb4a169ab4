"""Replay of records that share a message: a page of a robot's answers holds many steps."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import polars as pl
import pytest

from infra.postgres import open_pool
from lineage import naming
from lineage.model import Run, Transformation
from tasks.again.replay import replay
from tasks.again.reprocess import reprocess
from tasks.again.reread import CurrentPipeline
from tasks.batch import MESSAGE_SCHEMA, Position, RawBatch, Receipt, Reference, Refined
from tasks.contract import Contract
from tasks.load.commit import load
from tasks.load.prepare import prepare
from tasks.load.standing import standing_where
from tasks.load.store import Store
from tasks.tables.tables import prepare_table
from tasks.transform import experiments
from tasks.transform.lost_steps import OPEN, OPEN_STEPS
from tests.fixtures.catalogs import pipeline as named
from tests.fixtures.replay import House

CREATED = "2026-11-21T00:00:00.000000+00:00"
NOW = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
CONTRACTS = named("experiments").contracts
RUN = ("/runs/r1", json.dumps({"data": {"id": "r1", "createdAt": CREATED, "status": "succeeded"}}).encode())
JUNK = b"junk "  # what today's reader of these tests can take away


def page(*volumes: float, cursor: int = 0) -> tuple[str, bytes]:
    commands = [
        {"id": f"c{n}", "commandType": "aspirate", "status": "succeeded", "params": {"volume": volume}}
        for n, volume in enumerate(volumes, start=cursor)
    ]
    body = {"data": commands, "meta": {"cursor": cursor, "totalLength": 9}}
    return f"/runs/r1/commands?cursor={cursor}&pageLength=5", json.dumps(body).encode()


def a_fetch(*messages: tuple[str, bytes]) -> RawBatch:
    uri = naming.opentrons("bench")
    return RawBatch(
        dataset=uri,
        messages=pl.DataFrame(list(messages), schema=MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
        position=Position(source=uri, detail={"robot": "bench", "content": uuid4().hex}),
    )


def pipeline(minimum: float) -> CurrentPipeline:
    """The experiments pipeline whose steps take volumes from `minimum` (µL)."""
    contracts = CONTRACTS | {"experiment_steps": _with_minimum(CONTRACTS["experiment_steps"], minimum)}

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        payloads = [payload.removeprefix(JUNK) for payload in batch.messages["payload"]]
        messages = batch.messages.with_columns(payload=pl.Series(payloads, dtype=pl.Binary))
        return experiments.refine(replace(batch, messages=messages), reference, contracts, "opentrons")

    run = Run(id=uuid4(), kind="command", name="test replay", started_at=NOW)
    plan = replace(
        named("experiments").load_plan(run),
        transformation=Transformation(name="experiments", version=str(minimum)),
    )
    return CurrentPipeline(plan=plan, refine=refine, reference=Reference(frames={}), row_local=False)


def _with_minimum(contract: Contract, minimum: float) -> Contract:
    columns = tuple(
        column.model_copy(update={"minimum": minimum}) if column.name == "volume_ul" else column
        for column in contract.columns
    )
    return contract.model_copy(update={"columns": columns})


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with open_pool(postgres_dsn, application="test") as pool:
        async with pool.acquire() as connection:
            for contract in CONTRACTS.values():
                await prepare_table(connection, contract)  # type: ignore[arg-type]
        async with Store(postgres_dsn, pool, application="test") as store:
            yield House(postgres_dsn, pool, store)


async def take(house: House, batch: RawBatch) -> Receipt:
    refined = experiments.refine(batch, Reference(frames={}), CONTRACTS, "opentrons")
    return await load(house.store, pipeline(0).plan, prepare(batch, refined, pipeline(0).plan))


async def replayed(house: House, raw_batch: int, minimum: float) -> Receipt:
    receipt = await replay(house.store, pipeline(minimum), raw_batch)
    assert receipt is not None
    await house.books_hold()
    return receipt


async def test_only_the_rejected_parts_of_a_page_are_replayed(house: House) -> None:
    first = await take(house, a_fetch(RUN, page(10, -5, 20, -50)))
    assert (first.accepted["experiment_steps"], first.rejected) == (2, 2)
    fed = await house.pool.fetch(
        "SELECT source_key FROM lineage_log WHERE target_key = 'postgres:experiment_steps#1' "
        "AND relationship_type = 'FEEDS' ORDER BY 1"
    )
    assert [row["source_key"] for row in fed] == [f"{first.dataset}#1", "postgres:experiments#1"]
    receipt = await replayed(house, first.batch, -10)
    assert (receipt.read, dict(receipt.accepted), receipt.rejected) == (
        2,
        {"experiments": 0, "experiment_steps": 1},
        1,
    )
    row = await house.pool.fetchrow("SELECT * FROM experiment_steps WHERE step_id = 'c1'")
    assert (row["batch"], row["raw_batch"], row["sequence"], row["part"]) == (
        receipt.batch,
        first.batch,
        1,
        1,
    )
    assert row["observed_at"] == NOW
    assert await house.pool.fetchval("SELECT count(*) FROM store.experiment_steps_history") == 0
    assert await replay(house.store, pipeline(-10), first.batch) is None


async def test_reprocessing_leaves_a_lost_step_as_it_was_concluded(house: House) -> None:
    going = ("/runs/r1", RUN[1].replace(b"succeeded", b"running"))
    step = ("/runs/r1/commands", page(10)[1].replace(b"succeeded", b"running"))
    first = await take(house, a_fetch(going, step))
    contract = CONTRACTS["experiment_steps"]
    standing = await standing_where(house.pool, contract, {"experiment_id": ["r1"], "status": OPEN})
    assert standing["step_id"].to_list() == ["c0"]
    later = replace(a_fetch(RUN, page()), received_at=NOW + timedelta(minutes=1))
    reference = Reference(frames={OPEN_STEPS: standing})
    refined = experiments.refine(later, reference, CONTRACTS, "opentrons")
    second = await load(house.store, pipeline(0).plan, prepare(later, refined, pipeline(0).plan))
    assert second.accepted["experiment_steps"] == 1
    for batch in (second.batch, first.batch):
        await reprocess(house.store, pipeline(-1), batch)
    assert await house.pool.fetch("SELECT step_id, status FROM experiment_steps") == [("c0", "lost")]
    await house.books_hold()


async def test_the_robot_is_still_known(house: House) -> None:
    first = await take(house, a_fetch((RUN[0], RUN[1].replace(b"succeeded", b"s" * 65)), page(1)))
    assert first.rejected == 1
    wide = pipeline(0)

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        payloads = [payload.replace(b"s" * 65, b"stopped") for payload in batch.messages["payload"]]
        messages = batch.messages.with_columns(payload=pl.Series(payloads, dtype=pl.Binary))
        return await wide.refine(replace(batch, messages=messages), reference)

    receipt = await replay(house.store, replace(wide, refine=refine), first.batch)
    assert receipt is not None
    assert receipt.accepted["experiments"] == 1
    assert await house.pool.fetchval("SELECT robot FROM experiments") == "bench"


async def test_a_page_that_can_be_read_today_is_split_into_its_records(house: House) -> None:
    where, body = page(10, -5, 20)
    first = await take(house, a_fetch(RUN, (where, JUNK + body)))
    assert first.rejected == 1
    receipt = await replayed(house, first.batch, 0)
    assert (receipt.read, receipt.accepted["experiment_steps"], receipt.rejected) == (3, 2, 1)
    whole, part = await house.pool.fetch("SELECT * FROM rejected ORDER BY part NULLS FIRST")
    assert (whole["part"], whole["resolved_by"]) == (None, receipt.batch)
    assert (part["part"], part["batch"], part["raw_batch"]) == (1, receipt.batch, first.batch)
    assert await house.pool.fetchval("SELECT verdict FROM replays") == "split"
    last = await replayed(house, first.batch, -10)
    assert (last.read, last.accepted["experiment_steps"]) == (1, 1)
    assert await house.pool.fetchval("SELECT count(*) FROM rejected WHERE resolved_by IS NULL") == 0


async def test_a_newer_observation_stands_and_the_replayed_one_is_history(house: House) -> None:
    first = await take(house, a_fetch(RUN, page(-5)))
    later = a_fetch(RUN, page(7))
    await take(house, replace(later, received_at=NOW + timedelta(minutes=1)))
    receipt = await replayed(house, first.batch, -10)
    assert receipt.accepted["experiment_steps"] == 1
    assert await house.pool.fetchval("SELECT volume_ul FROM experiment_steps") == 7
    assert await house.pool.fetchval("SELECT batch FROM store.experiment_steps_history") == receipt.batch
