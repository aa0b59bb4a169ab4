"""Every kind of bad input the whole way: broker → batch → refine → ONE transaction → acknowledged.

Each ends as a rejected record with its bytes, stage and rule, or is accepted by a coercion that
`docs/readings.md` names. None stops the stream: a good reading sent after it is stored.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.mqtt.session import Session
from infra.postgres import Pool, Row, open_pool
from lineage import naming
from lineage.model import Run
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.decode.messages import Decoder
from tasks.extract.mqtt import MqttSource, batches, open_session
from tasks.ingest import Steps, ingest
from tasks.load import raw
from tasks.load.commit import load
from tasks.load.plan import LoadPlan
from tasks.load.prepare import prepare
from tasks.load.store import Store
from tasks.pattern import topic_pattern
from tasks.tables.tables import prepare_table
from tasks.transform import records as readings
from tasks.transform.steps.lookup import DEVICES
from tests.fixtures.catalogs import pipeline as named
from tests.fixtures.readings import steps_of

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
TOPIC = "sensors/d1/readings"
PIPELINE = named("sensors")
CONTRACTS = PIPELINE.contracts
CONTRACT = CONTRACTS["sensor_readings"]
REFERENCE = Reference(frames={"devices": DEVICES.row_schema.to_frame()})
STEPS = steps_of(CONTRACT, "sensors")
TOPICS = topic_pattern("sensors/{device_id}/readings")
Message = tuple[str, bytes]


def reading(second: int = 0, **values: object) -> bytes:
    """A good reading, changed by `values`; `...` leaves a field out."""
    body = {
        "device_id": "d1",
        "timestamp": (START + timedelta(seconds=second)).isoformat(),
        "temperature": 20.5,
        "humidity": 40,
        **values,
    }
    return json.dumps({name: value for name, value in body.items() if value is not ...}).encode()


def edited(old: str, new: str) -> bytes:
    text = reading().decode()
    assert old in text
    return text.replace(old, new).encode()


@dataclass
class Stream:
    """One listener's way, driven message by message."""

    url: str
    pool: Pool
    store: Store
    plan: LoadPlan
    source: MqttSource
    session: Session
    coming: AsyncGenerator[RawBatch, None]

    async def take(self, *messages: Message) -> list[Receipt]:
        """Publish, and ingest until as many messages were read."""
        async with Publisher(self.url) as publisher:
            await publisher.publish_many(messages)
        return await self.read(len(messages))

    async def read(self, count: int) -> list[Receipt]:
        receipts: list[Receipt] = []
        async with asyncio.timeout(30):
            while sum(receipt.read for receipt in receipts) < count:
                receipts.append(await ingest(await anext(self.coming), REFERENCE, self._steps()))
        return receipts

    def _steps(self) -> Steps:
        async def refine(batch: RawBatch, reference: Reference) -> Refined:
            return readings.refine(batch, reference, Decoder(CONTRACT), TOPICS, STEPS)

        async def commit(batch: RawBatch, refined: Refined) -> Receipt:
            return await load(self.store, self.plan, prepare(batch, refined, self.plan))

        return Steps(refine=refine, load=commit)

    async def rejected(self) -> list[Row]:
        return await self.pool.fetch("SELECT * FROM rejected ORDER BY batch, sequence")

    async def bytes_of(self, record: Row) -> bytes | None:
        query = "SELECT messages FROM raw_batches WHERE batch = $1"
        messages = raw.unpack(await self.pool.fetchval(query, record["batch"]))
        payload: bytes | None = messages["payload"][record["sequence"]]
        return payload

    async def goes_on(self) -> None:
        """The stream is alive, its books balance and the broker keeps nothing."""
        count = "SELECT count(*) FROM sensor_readings"
        before = await self.pool.fetchval(count)
        await self.take((TOPIC, reading(3000)))
        assert await self.pool.fetchval(count) == before + 1
        unbalanced = "SELECT count(*) FROM ledger WHERE read <> accepted + rejected + duplicates + filtered"
        assert await self.pool.fetchval(unbalanced) == 0
        untold = (
            "SELECT count(*) FROM ledger l WHERE rejected <> "
            "(SELECT count(*) FROM rejected r WHERE r.batch = l.batch)"
        )
        assert await self.pool.fetchval(untold) == 0


@asynccontextmanager
async def a_stream(dsn: str, url: str) -> AsyncIterator[Stream]:
    # Wider than the listener's own filter, so that a topic that matches nothing comes in at all.
    source = MqttSource.model_validate({"url": url, "client_id": "listener-0", "topic": "sensors/#"})
    run = Run(id=uuid4(), kind="listener", name="sensors", started_at=datetime.now(UTC))
    async with open_pool(dsn, application="test") as pool, open_session(source) as session:
        async with pool.acquire() as connection:
            await prepare_table(connection, CONTRACT)  # type: ignore[arg-type]
        await session.connect()  # the broker keeps what comes from now on
        await session.close()
        async with Store(dsn, pool, application="test") as store:
            dataset = naming.mqtt("sensors/+/readings")
            async with aclosing(batches(source, session, dataset)) as coming:
                yield Stream(url, pool, store, PIPELINE.load_plan(run), source, session, coming)
        connection_left = session.connection
        assert connection_left is None or connection_left.unacknowledged == 0


@pytest.fixture
async def stream(postgres_dsn: str, mqtt_address: Address) -> AsyncIterator[Stream]:
    async with a_stream(postgres_dsn, mqtt_address.url_with_password) as stream:
        yield stream


REJECTED: dict[str, tuple[str, bytes, str, list[str]]] = {
    # what: topic, payload, stage, rules
    "not JSON": (TOPIC, b"{oops", "decode", ["payload.json"]),
    "empty": (TOPIC, b"", "decode", ["payload.empty"]),
    "cut off": (TOPIC, reading()[:-3], "decode", ["payload.json"]),
    "an array": (TOPIC, b"[" + reading() + b"]", "decode", ["payload.object"]),
    "a number": (TOPIC, b"5", "decode", ["payload.object"]),
    "null": (TOPIC, b"null", "decode", ["payload.object"]),
    "an escaped NUL": (
        "sensors/d1/readings",
        edited('"d1"', '"d\\u00001"'),
        "validate",
        ["topic.device_id", "device_id.nul"],
    ),
    "a raw NUL": (TOPIC, edited('"d1"', '"d\x001"'), "decode", ["payload.json"]),
    "NULs only": (TOPIC, b"\x00\x00", "decode", ["payload.json"]),
    "NaN": (TOPIC, edited("20.5", "NaN"), "validate", ["temperature.finite"]),
    "Infinity": (TOPIC, edited("20.5", "Infinity"), "validate", ["temperature.finite"]),
    "-Infinity": (TOPIC, edited("20.5", "-Infinity"), "validate", ["temperature.finite"]),
    "1e999": (TOPIC, edited("20.5", "1e999"), "validate", ["temperature.finite"]),
    "NaN that nobody reads": (TOPIC, edited("20.5", '20.5, "x": NaN'), "decode", ["payload.json"]),
    "a number as a string": (TOPIC, reading(temperature="20.5"), "validate", ["temperature.type"]),
    "a string as a number": (TOPIC, reading(device_id=1), "validate", ["device_id.type"]),
    "device_id missing": (TOPIC, reading(device_id=...), "validate", ["device_id.required"]),
    "timestamp missing": (TOPIC, reading(timestamp=None), "validate", ["timestamp.required"]),
    "half a location": (TOPIC, reading(location={"latitude": 1}), "validate", ["location.incomplete"]),
    "no zone": (TOPIC, reading(timestamp="2026-11-21T08:00:00"), "validate", ["timestamp.zone"]),
    "no time": (TOPIC, reading(timestamp="yesterday"), "validate", ["timestamp.format"]),
    "microseconds": (
        TOPIC,
        reading(timestamp=int(START.timestamp() * 1e6)),
        "validate",
        ["timestamp.unit"],
    ),
    "far in the future": (
        TOPIC,
        reading(timestamp="2999-01-01T00:00:00Z"),
        "validate",
        ["timestamp.furthest"],
    ),
    "two days ahead": (
        TOPIC,
        reading(timestamp=(START + timedelta(days=2)).isoformat()),
        "validate",
        ["timestamp.furthest"],
    ),
    "long ago": (TOPIC, reading(timestamp="1999-01-01T00:00:00Z"), "validate", ["timestamp.oldest"]),
    "out of range": (
        TOPIC,
        reading(temperature=200, humidity=-1),
        "validate",
        ["temperature.range", "humidity.range"],
    ),
    "1 MB": (TOPIC, reading(note="x" * 1_000_000), "decode", ["payload.size"]),
    "1 MB of nothing": (TOPIC, bytes(1_048_576), "decode", ["payload.size"]),
    "invalid UTF-8": (TOPIC, b'{"device_id": "\xff\xfe"}', "decode", ["payload.utf8"]),
    "a topic that matches nothing": ("sensors/d1/status", reading(), "validate", ["topic.pattern"]),
    "another device's topic": ("sensors/d2/readings", reading(), "validate", ["topic.device_id"]),
    "nothing right": ("sensors/d1", b"\xff", "decode", ["payload.utf8", "topic.pattern"]),
}


@pytest.mark.parametrize("what", REJECTED)
async def test_it_is_rejected_with_its_bytes_stage_and_rules(stream: Stream, what: str) -> None:
    topic, payload, stage, rules = REJECTED[what]
    await stream.take((topic, payload))
    (record,) = await stream.rejected()
    assert (record["stage"], record["rules"], record["location"]) == (stage, rules, topic)
    assert record["error_type"] == rules[0].rpartition(".")[2]
    assert record["message"]
    assert await stream.bytes_of(record) == payload
    assert await stream.pool.fetchval("SELECT count(*) FROM sensor_readings") == 0
    await stream.goes_on()


ACCEPTED: dict[str, tuple[bytes, dict[str, Any]]] = {
    # what: payload, the stored values that show how it was read
    "optional fields missing": (
        reading(temperature=..., humidity=None),
        {"temperature": None, "humidity": None, "pressure": None, "latitude": None, "dew_point": None},
    ),
    "extra fields": (reading(battery=3, tags=["a", {"b": None}]), {"temperature": 20.5}),
    "an integer where a float is due": (reading(temperature=21), {"temperature": 21.0}),
    "minus zero": (edited("20.5", "-0.0"), {"temperature": 0.0}),
    "a name that comes twice": (edited("20.5", '1, "temperature": 22'), {"temperature": 22.0}),
    "seconds": (reading(timestamp=int(START.timestamp())), {"timestamp": START}),
    "seconds with a fraction": (
        reading(timestamp=START.timestamp() + 0.25),
        {"timestamp": START + timedelta(milliseconds=250)},
    ),
    "milliseconds": (
        reading(timestamp=int(START.timestamp()) * 1000 + 7),
        {"timestamp": START + timedelta(milliseconds=7)},
    ),
    "an offset": (
        reading(timestamp=(START + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S+05:30")),
        {"timestamp": START},
    ),
    "a space for the T": (reading(timestamp=START.strftime("%Y-%m-%d %H:%M:%SZ")), {"timestamp": START}),
    "nanoseconds": (
        reading(timestamp=START.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")),
        {"timestamp": START + timedelta(microseconds=123456)},
    ),
}


@pytest.mark.parametrize("what", ACCEPTED)
async def test_it_is_accepted_by_a_documented_coercion(stream: Stream, what: str) -> None:
    payload, values = ACCEPTED[what]
    await stream.take((TOPIC, payload))
    assert await stream.rejected() == []
    stored = await stream.pool.fetchrow("SELECT * FROM sensor_readings")
    assert {name: stored[name] for name in values} == values
    await stream.goes_on()


async def test_duplicates_within_a_batch_and_between_batches(stream: Stream) -> None:
    spaced = reading().replace(b", ", b",")  # the same reading in other bytes
    within = await stream.take(
        (TOPIC, reading()), (TOPIC, reading()), (TOPIC, spaced), (TOPIC, b"{"), (TOPIC, b"{")
    )
    between = await stream.take((TOPIC, reading()), (TOPIC, b"{"))
    assert sum(receipt.accepted["sensor_readings"] for receipt in within) == 1
    # Bytes rejected twice in one batch are one rejected record.
    assert [r["rules"] for r in await stream.rejected()] == [["payload.json"]]
    assert sum(receipt.duplicates for receipt in within) == 3
    assert sum(receipt.duplicates for receipt in between) == 2
    await stream.goes_on()


async def test_a_key_that_returns_with_other_values(stream: Stream) -> None:
    await stream.take((TOPIC, reading()), (TOPIC, reading(temperature=21)))
    await stream.take((TOPIC, reading(temperature=22)))
    records = await stream.rejected()
    assert [(r["stage"], r["rules"]) for r in records] == [("load", ["key.conflict"])] * 2
    assert [await stream.bytes_of(r) for r in records] == [reading(temperature=21), reading(temperature=22)]
    assert await stream.pool.fetchval("SELECT temperature FROM sensor_readings") == 20.5
    await stream.goes_on()


async def test_all_of_it_at_once_and_again(stream: Stream) -> None:
    good = [(TOPIC, reading(second)) for second in range(100, 100 + len(REJECTED))]
    bad = [(topic, payload) for topic, payload, _, _ in REJECTED.values()]
    mixed = [message for pair in zip(good, bad, strict=True) for message in pair]
    for _ in range(2):
        await stream.take(*mixed)
        assert await stream.pool.fetchval("SELECT count(*) FROM sensor_readings") == len(good)
        assert len(await stream.rejected()) == len(bad)
    await stream.goes_on()


async def test_what_was_acknowledged_does_not_come_back(stream: Stream, postgres_dsn: str) -> None:
    await stream.take(*((topic, payload) for topic, payload, _, _ in REJECTED.values()))
    await stream.coming.aclose()
    await stream.session.close()
    async with open_session(stream.source) as session:
        connection = await session.connect()
        await connection.ping()
        await connection.buffered(1, 1, 0.3)
        assert connection.oldest_buffered is None


def test_every_rule_and_coercion_of_these_cases_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "readings.md").read_text(encoding="utf-8")
    for _, _, _, rules in REJECTED.values():
        for rule in rules:
            assert f"`{rule}`" in text
