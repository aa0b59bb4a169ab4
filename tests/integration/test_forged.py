"""Rows that no commit wrote, inserted by hand into the record: a full proof names each."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from infra.local.addresses import Address
from lineage.log import Writer
from lineage.model import Edge, RelationshipType, batch_node
from tests.fixtures.commit import a_batch, message
from tests.fixtures.proof import House, a_house, furnish

BEYOND = (1 << 63) - 1
"""The one number that is in no range first ≤ batch < end."""

LEDGER = (
    "INSERT INTO store.ledger (batch, dataset, received_at, received_until, processed_at, read, accepted, "
    "rejected, duplicates, filtered, way, transformation_id, writer, first_entry, last_entry, chain_head, "
    "raw_batch) SELECT {batch}, dataset, received_at, received_until, processed_at, 5, 0, 0, 5, 0, way, "
    "transformation_id, 1, {first}, {last}, chain_head, {raw} FROM store.ledger WHERE batch = 2"
)
OUTPUT = "INSERT INTO store.ledger_outputs VALUES ({batch}, '{table}', {bucket}, 0, 0)"

STATEMENTS = {
    "a batch without entries": (
        LEDGER.format(batch=999, first=1, last=0, raw="NULL"),
        "lineage_log, batch 999: it is in the ledger and has no entry",
    ),
    "a replay without entries": (
        LEDGER.format(batch=999, first=1, last=0, raw=2),
        "lineage_log, batch 999: it is in the ledger and has no entry",
    ),
    "a batch that names another's entries": (
        LEDGER.format(batch=999, first=1, last=2, raw="NULL"),
        "lineage_log, batch 999: it is in the ledger and has no entry",
    ),
    "a batch beyond every range": (
        LEDGER.format(batch=BEYOND, first=1, last=0, raw="NULL"),
        f"ledger: something of batch {BEYOND}, which no commit has",
    ),
    "an output beyond every range": (
        OUTPUT.format(batch=BEYOND, table="runs", bucket="NULL"),
        f"ledger_outputs: something of batch {BEYOND}, which no commit has",
    ),
    "an output for another table": (
        OUTPUT.format(batch=2, table="runs", bucket="NULL"),
        "lineage_log, batch 2: no edge from mqtt:sensors/+/readings#2 to postgres:runs#2",
    ),
    "an output of no batch": (
        OUTPUT.format(batch=999, table="runs", bucket="NULL"),
        "batch 999: it has outputs and is not in the ledger",
    ),
    "entries said to be sealed": (
        "INSERT INTO store.lineage_spans VALUES (999, 1, 1, 999, '\\x00')",
        "seals: entries of writer 1 are said to be sealed, by no seal there is",
    ),
    "a device that the log need not tell of": (
        "INSERT INTO store.subjects VALUES ('device', 'z', 'postgres:sensor_readings')",
        "subjects: device z of postgres:sensor_readings is not from the log",
    ),
    "a quarantine that nobody did": (
        "INSERT INTO store.recalls VALUES (3, 'quarantine', '{}', 'why', 'eve', gen_random_uuid(), now())",
        "recalls: a reason of batch 3, which is no such act in the ledger",
    ),
}


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address) as house:
        await furnish(house)
        assert (await house.prove()).differences == ()
        yield house


async def assert_named(house: House, sentence: str) -> None:
    differences = (await house.prove()).differences
    assert any(each.startswith(sentence) for each in differences), differences


@pytest.mark.parametrize("kind", STATEMENTS)
async def test_a_forged_row_is_named(house: House, kind: str) -> None:
    statement, sentence = STATEMENTS[kind]
    await house.connection.execute(statement)
    await assert_named(house, sentence)


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (2, "lineage_log, batch 2: its entries are not numbers"),
        (999, "lineage_log: 1 entry(s) of batch 999, which is not in the ledger"),
        (BEYOND, f"lineage_log: something of batch {BEYOND}, which no commit has"),
    ],
)
@pytest.mark.parametrize("known", ["open", "ended", "unknown"])
async def test_an_entry_on_a_chain_of_ones_own_is_named(
    house: House, batch: int, sentence: str, known: str
) -> None:
    """Its hash is right; the writer is told to the relay, told as ended, or not at all."""
    number = 4711
    if known != "unknown":
        number = await house.connection.fetchval(
            "INSERT INTO store.lineage_writers (application, ended_at) VALUES ('eve', $1) RETURNING writer",
            datetime.now(UTC) if known == "ended" else None,
        )
    edge = Edge(
        relationship_type=RelationshipType.FEEDS,
        source=batch_node("mqtt:sensors/+/readings", 2),
        target=batch_node("postgres:sensor_readings", 2, rows=7),
        created_at=datetime.now(UTC),
        transformation_id="sensors@0",
        run_id=uuid4(),
    )
    await Writer(number).append(house.connection, batch, [edge])
    await assert_named(house, sentence)


@pytest.mark.parametrize("table", ["sensor_readings", "runs"])
async def test_an_output_that_no_seal_covers_yet_is_named(house: House, table: str) -> None:
    receipt = await house.way.take(a_batch(message("late", 1)))
    bucket = "'2026-11-21T00:00Z'"
    await house.connection.execute(OUTPUT.format(batch=receipt.batch, table=table, bucket=bucket))
    await assert_named(house, f"batch {receipt.batch}: an output {table} of 2026-11-21T00:00Z that no commit")
