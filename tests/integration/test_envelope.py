"""Keys, headers and times of Kafka's messages: from a broker to rows, proven, and until they are erased."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from confluent_kafka import Producer

from console.asked.erase import erased
from flows.process import stores
from infra.local.addresses import Address
from tasks.batch import BESIDE_SCHEMA, MESSAGE_SCHEMA, RawBatch
from tasks.load.raw import pack, read_raw, unpack
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house
from tests.fixtures.headwater import Headwater
from tests.fixtures.waiting import until_stored

NOW = datetime(2026, 11, 26, 20, tzinfo=UTC)
SENT = NOW - timedelta(seconds=5)
ORDERS = """
doc: Orders.
owner: shop
source: {type: kafka, topic: TOPIC}
table:
  name: orders
  key: [id, at]
  time: at
  columns:
    id: {type: text, from: {key: text}, max_length: 5}
    at: {type: timestamp}
    trace: {type: text, from: {header: trace-id}}
    sent: {type: timestamp, from: {sent: time}}
"""
ROWS = "SELECT id, trace, sent FROM orders ORDER BY id"


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        catalogs.written(house.pipelines / "orders" / "pipeline.yaml", ORDERS)
        await stores.prepare_each(house.settings, [house.catalog.contracts["orders"]])
        yield house


def a_batch(*keys: bytes | None) -> RawBatch:
    headers = [{"name": "trace-id", "value": b"t1"}, {"name": "other", "value": None}]
    payload = b'{"at": "2026-11-26T19:00:00Z"}'
    rows = [(f"TOPIC/0@{at}", payload, key, headers, SENT) for at, key in enumerate(keys)]
    messages = pl.DataFrame(rows, pl.Schema({**MESSAGE_SCHEMA, **BESIDE_SCHEMA}), orient="row")
    return RawBatch(dataset="kafka:TOPIC", messages=messages, received_at=NOW, received_until=NOW)


async def test_rows_of_an_envelope_are_made_again_and_judged_again(house: House) -> None:
    batch = a_batch(b"o-1", b"o-20000", None, b"\xff")
    receipt = await house.take(batch, "orders")
    stored = [("o-1", "t1", SENT)]
    assert [tuple(row) for row in await house.connection.fetch(ROWS)] == stored
    broken = await house.connection.fetch("SELECT rules FROM rejected ORDER BY sequence")
    assert [row["rules"] for row in broken] == [["id.max_length"], ["id.required"], ["id.utf8"]]
    again = await house.take(replace(batch, may_repeat=True), "orders")
    assert (again.accepted, again.rejected, again.duplicates) == ({"orders": 0}, 0, 4)
    longer = ORDERS.replace("max_length: 5", "max_length: 9")
    catalogs.written(house.pipelines / "orders" / "pipeline.yaml", longer)
    await house.reprocess(receipt.batch)
    await house.replay()
    assert [tuple(row) for row in await house.connection.fetch(ROWS)] == [*stored, ("o-20000", "t1", SENT)]
    assert (await house.prove()).differences == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": pl.lit(b"o-2")}, "1 message(s) do not match their digest: sequence 0"),
        (
            {"headers": pl.lit(None, BESIDE_SCHEMA["headers"])},
            "1 message(s) do not match their digest: sequence 0",
        ),
        (
            {"sent_at": pl.col("sent_at") + timedelta(seconds=1)},
            "its digests, locations, dataset, times or size are not those recorded",
        ),
    ],
)
async def test_a_proof_sees_what_was_changed_beside_a_message(
    house: House, change: dict[str, pl.Expr], said: str
) -> None:
    await house.take(a_batch(b"o-1"), "orders")
    held = unpack(await house.value("SELECT messages FROM store.raw_batches"))
    forged = pack(held.with_columns(**change))
    await house.connection.execute("UPDATE store.raw_batches SET messages = $1", forged)
    proof = await house.prove(from_bytes=False)
    assert f"raw_batches, batch 1: {said}" in proof.differences


async def test_what_came_beside_is_erased_with_the_message(house: House) -> None:
    await house.take(a_batch(b"o-1", b"o-2"), "orders")
    await erased(house.settings, 1, [0], reason="asked for", by_whom="ada", apply=True)
    kept = (await read_raw(house.connection, 1)).batch.messages
    assert kept.select("payload", "key").rows() == [(None, None), (b'{"at": "2026-11-26T19:00:00Z"}', b"o-2")]
    assert kept["headers"].is_null().to_list() == [True, False]
    assert (await house.prove()).differences == ()


async def test_a_message_of_a_broker_brings_its_key_and_headers(
    house: House, headwater: Headwater, postgres_dsn: str, kafka_address: Address
) -> None:
    topic = f"orders-{uuid4().hex[:8]}"
    said = ORDERS.replace("TOPIC", topic).replace("key: [id, at]", "oldest: P20Y\n  key: [id, at]")
    own = house.pipelines.parent / "own"
    catalogs.written(own / "orders" / "pipeline.yaml", said)
    producer = Producer({"bootstrap.servers": kafka_address.url.removeprefix("kafka://")})
    sent = round(SENT.timestamp() * 1000)
    headers: list[tuple[str, bytes | None]] = [("trace-id", b"t0"), ("trace-id", b"t1"), ("other", None)]
    payload = b'{"at": "2026-11-26T19:00:00Z"}'
    producer.produce(topic, payload, key=b"o-1", partition=0, headers=headers, timestamp=sent)
    producer.produce(topic, payload, key=b"\xff", partition=0, timestamp=sent)
    producer.produce(topic, None, key=b"o-1", partition=0, timestamp=sent)  # a tombstone
    assert producer.flush(30) == 0
    listener = headwater(
        *("listen", "--pipeline", "orders"),
        HEADWATER_POSTGRES_DSN=postgres_dsn,
        HEADWATER_KAFKA_URL=kafka_address.url,
        HEADWATER_PIPELINES=str(own),
    )
    await until_stored(house.connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", 3)
    assert listener.stop() == 0
    assert [tuple(row) for row in await house.connection.fetch(ROWS)] == [("o-1", "t1", SENT)]
    broken = await house.connection.fetch("SELECT rules FROM rejected ORDER BY location")
    assert [row["rules"] for row in broken] == [["id.utf8"], ["payload.empty"]]
    kept = (await read_raw(house.connection, 1)).batch.messages
    assert [each["name"] for each in kept["headers"][0]] == ["trace-id", "trace-id", "other"]
    assert kept["key"][0] == b"o-1"
