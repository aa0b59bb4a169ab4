"""Decimals, the whole way: from a broker and from files to their digits in Postgres, proven from bytes."""

import json
import os
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from console.asked.trace import traced
from flows.acts.recall import Order, recalled
from flows.process import stores
from infra.local.addresses import Address
from lineage.errors import ContractError
from tasks.again.recall import Selection
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch
from tasks.tables.tables import prepare_table
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house
from tests.fixtures.listening import Listeners
from tests.fixtures.waiting import until_stored

# The pipelines that users are shown lie beside the repository, or not: then ours alone are tried.
SHARED = Path(os.environ.get("HEADWATER_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")).parent
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
AT = "2026-11-26T08:00:00Z"
ORDERS = """
doc: Orders.
owner: sales
source: {type: kafka, topic: orders}
table:
  name: orders
  key: [id, ordered_at]
  time: ordered_at
  columns:
    id: {type: text, regex: "o-[0-9]+"}
    customer: {type: text, required: true}
    amount: {type: decimal, precision: 12, scale: 2, minimum: 0}
    currency: {type: text, one_of: [EUR, CHF, USD, NOK]}
    ordered_at: {type: timestamp}
"""
PRICES = """
doc: Prices, of which the newest counts.
owner: sales
source: {type: mqtt, topic: "prices/{shop}"}
table:
  name: prices
  key: [tier, at]
  time: at
  on_return: revise
  columns:
    tier: {type: decimal, precision: 20, scale: 10}
    at: {type: timestamp}
    net: {type: decimal, scale: 2, maximum: 1000, null_values: [-1]}
    rate: {type: decimal, precision: 5, scale: 4, default: 0.19}
    tax: {type: decimal, scale: 6}
    share: {type: float}
steps:
  - set:
      tax: net * rate
  - set:
      share: tax / net
"""
EXACT = """
doc: Numbers of many digits.
owner: me
source: {type: files, folder: exact, pattern: "*"}
table:
  name: exact
  key: [id, at]
  time: at
  columns:
    id: {type: integer}
    at: {type: timestamp}
    whole: {type: decimal, scale: 0}
    middle: {type: decimal, scale: 19}
    parts: {type: decimal, scale: 38}
    money: {type: decimal, precision: 12, scale: 2}
"""
DIGITS = {"whole": (38, 0), "middle": (38, 19), "parts": (38, 38), "money": (12, 2)}


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        yield house


async def furnished(house: House, name: str, text: str) -> None:
    catalogs.written(house.pipelines / name / "pipeline.yaml", text)
    await stores.prepare_each(house.settings, [house.catalog.contracts[name]])


async def proves(house: House, rows: int) -> None:
    proof = await house.prove()
    assert proof.differences == ()
    assert proof.from_bytes is not None
    assert proof.from_bytes.rows == rows


@pytest.fixture(params=["ours", *(["shown"] if (SHARED / "examples" / "orders").is_dir() else [])])
def orders(request: pytest.FixtureRequest, house: House, kafka_address: Address) -> Iterator[Producer]:
    """A producer, and the pipeline in the house's catalog."""
    if request.param == "ours":
        catalogs.written(house.pipelines / "orders" / "pipeline.yaml", ORDERS)
    else:
        shutil.copytree(SHARED / "examples" / "orders", house.pipelines / "orders")
    servers = {"bootstrap.servers": kafka_address.url.removeprefix("kafka://")}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result(30)
    yield Producer(servers)
    admin.delete_topics(["orders"])["orders"].result(30)


async def test_an_amount_of_kafka_is_stored_to_the_cent(
    house: House,
    listeners: Listeners,
    orders: Producer,
    kafka_address: Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADWATER_KAFKA_URL", kafka_address.url)
    said = [
        '"12.30"',
        "12.3",
        "0.10",
        "9999999999.99",
        '"abc"',
        '"0.005"',
        "10000000000",
        "-0.01",
        "NaN",
        "null",
    ]
    for number, amount in enumerate(said):
        order = (
            f'{{"id":"o-{number}","customer":"c1","amount":{amount},"currency":"EUR","ordered_at":"{AT}"}}'
        )
        orders.produce("orders", order)
    assert orders.flush(30) == 0
    async with listeners.run(house.catalog.pipeline("orders")):
        await until_stored(house.connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", len(said))
    rows = await house.connection.fetch("SELECT id, amount::text FROM orders ORDER BY id")
    amounts = {"o-0": "12.30", "o-1": "12.30", "o-2": "0.10", "o-3": "9999999999.99", "o-9": None}
    assert {row["id"]: row["amount"] for row in rows} == amounts
    bad = await house.connection.fetch("SELECT rules, location FROM rejected ORDER BY sequence")
    assert [row["rules"] for row in bad] == [
        ["amount.type"],
        ["amount.scale"],
        ["amount.precision"],
        ["amount.range"],
        ["amount.finite"],
    ]
    assert bad[0]["location"] == "orders/0@4"
    edge = "SELECT source_key FROM lineage_log WHERE target_key = 'postgres:orders.amount'"
    assert await house.value(f"{edge} AND facts->>'direct' IS NOT NULL") == "kafka:orders.amount"
    await proves(house, 5)


def a_batch(*records: str, at: datetime = NOW) -> RawBatch:
    frame = pl.DataFrame([("prices/a", record.encode()) for record in records], MESSAGE_SCHEMA, orient="row")
    return RawBatch(dataset="mqtt:prices/+", messages=frame, received_at=at, received_until=at)


def price(tier: str, net: str, **rest: str) -> str:
    said = {"tier": tier, "at": json.dumps(AT), "net": net, **rest}
    return f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in said.items())}}}"


STANDING = "SELECT tier::text, net::text, rate::text, tax::text FROM prices ORDER BY prices.tier"


async def standing(house: House) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await house.connection.fetch(STANDING)]


async def test_a_decimal_in_the_key_is_revised_replayed_reprocessed_and_recalled(house: House) -> None:
    await furnished(house, "prices", PRICES)
    first = await house.take(
        a_batch(
            price("0.1", "10.01"),
            price("0.3", "20", rate="0.07"),
            price("0.30000000000000004", "1"),  # what 0.1 + 0.2 is to a float
            price('"1e2"', "1001"),
            price("7", "-1.00"),
        ),
        "prices",
    )
    assert (first.accepted, first.rejected) == ({"prices": 3}, 2)
    rules = await house.connection.fetch("SELECT rules, key FROM rejected ORDER BY sequence")
    assert [tuple(row) for row in rules] == [
        (["tier.scale"], None),
        (["net.range"], '{"at":"2026-11-26T08:00:00.000000Z","tier":"100.0000000000"}'),
    ]
    same = await house.take(a_batch(price("0.10", '"10.010"'), price("1e-1", "10.01")), "prices")
    assert (same.accepted, same.duplicates) == ({"prices": 0}, 2)
    later = a_batch(price('"0.1000000000"', "10.02"), at=NOW + timedelta(minutes=1))
    await house.take(later, "prices")
    assert await standing(house) == [
        ("0.1000000000", "10.02", "0.1900", "1.903800"),
        ("0.3000000000", "20.00", "0.0700", "1.400000"),
        ("7.0000000000", None, "0.1900", None),
    ]
    assert await house.value("SELECT net::text FROM store.prices_history") == "10.01"
    await proves(house, 4)

    await furnished(house, "prices", PRICES.replace("maximum: 1000", "maximum: 1002"))
    await house.replay()
    assert (await standing(house))[-1] == ("100.0000000000", "1001.00", "0.1900", "190.190000")
    await furnished(house, "prices", PRICES.replace("net * rate", "net * rate * 2"))
    await house.reprocess(first.batch)
    assert (await standing(house))[1] == ("0.3000000000", "20.00", "0.0700", "2.800000")
    assert (await house.prove()).differences == ()

    out = Order(kinds=["quarantine"], reason="wrong", by_whom="ada", apply=True)
    await recalled(house.settings, house.catalog, Selection(batch=first.batch), out)
    assert [tier for tier, *_ in await standing(house)] == ["0.1000000000"]  # a later batch's
    keys = await house.connection.fetch("SELECT key FROM store.quarantine")
    assert '{"at":"2026-11-26T08:00:00.000000Z","tier":"0.3000000000"}' in [row["key"] for row in keys]
    assert (await house.prove()).differences == ()
    found = await traced(house.settings, house.catalog, "prices", f"0.1,{AT}", "net", 1)
    assert str(found.value) == "10.02"


async def test_a_forged_digit_does_not_follow_from_its_bytes(house: House) -> None:
    await furnished(house, "prices", PRICES)
    await house.take(a_batch(price("0.1", "10.01")), "prices")
    await house.forge("UPDATE store.prices SET net = 10.02")
    said = (await house.prove()).differences
    assert any("net is stored as 10.02 and made again as 10.01" in each for each in said), said


def numbers(digits: tuple[int, int], count: int, chance: random.Random) -> list[str]:
    """Texts of numbers that a column of these digits has: the outermost, zeros, and any."""
    precision, scale = digits
    most = 10**precision - 1
    any_ = [
        chance.randrange(10 ** chance.randint(0, precision)) * chance.choice([1, -1]) for _ in range(count)
    ]
    zeros = [
        each // 10 ** chance.randint(0, precision) * 10 ** chance.randint(0, 4) for each in any_[: count // 3]
    ]
    found = [most, -most, 0, 1, -1, *(each for each in zeros if abs(each) <= most), *any_][:count]
    return [f"{'-' if each < 0 else ''}{pointed(abs(each), scale)}" for each in found]


def pointed(unscaled: int, scale: int) -> str:
    digits = str(unscaled).rjust(scale + 1, "0")
    return f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits


def a_file(*messages: bytes, format_: Format) -> RawBatch:
    frame = pl.DataFrame([("exact/x", each) for each in messages], MESSAGE_SCHEMA, orient="row")
    layout = Layout(format=format_)
    return RawBatch(
        dataset="file:exact/*", messages=frame, received_at=NOW, received_until=NOW, layout=layout
    )


def as_csv(rows: pl.DataFrame) -> RawBatch:
    lines = rows.write_csv().encode().split(b"\n", 1)
    return a_file(lines[0] + b"\n", lines[1], format_=Format.CSV)


def as_json(rows: pl.DataFrame) -> RawBatch:
    lines = [
        f'{{"id": {row["id"]}, "at": "{row["at"]}", '
        + ", ".join(f'"{name}": {row[name]}' for name in DIGITS)
        + "}\n"
        for row in rows.iter_rows(named=True)
    ]
    return a_file("".join(lines).encode(), format_=Format.NDJSON)


def as_parquet(rows: pl.DataFrame) -> RawBatch:
    typed = rows.with_columns(
        pl.Series(name, list(map(Decimal, rows[name])), dtype=pl.Decimal(*digits))
        for name, digits in DIGITS.items()
    )
    typed.write_ipc(payload := BytesIO())
    return a_file(payload.getvalue(), format_=Format.PARQUET)


async def test_every_digit_arrives_whatever_it_came_in(house: House) -> None:
    """And what is sent to Postgres is what Postgres gives back, to the byte: a digest is of those bytes."""
    await furnished(house, "exact", EXACT)
    chance, count = random.Random(17), 300  # noqa: S311 - numbers to try
    sent: list[dict[str, Any]] = []
    for way in (as_csv, as_json, as_parquet):
        columns = {name: numbers(digits, count, chance) for name, digits in DIGITS.items()}
        rows = pl.DataFrame({"id": range(len(sent), len(sent) + count), "at": [AT] * count, **columns})
        receipt = await house.take(way(rows), "exact")
        assert receipt.accepted == {"exact": count}, way
        sent += rows.drop("at").to_dicts()
    texts = ", ".join(f"{name}::text" for name in DIGITS)
    stored = [dict(row) for row in await house.connection.fetch(f"SELECT id, {texts} FROM exact ORDER BY id")]
    assert stored == [{name: without_minus_zero(value) for name, value in row.items()} for row in sent]
    await proves(house, 3 * count)


def without_minus_zero(value: Any) -> Any:
    return value.removeprefix("-") if isinstance(value, str) and not Decimal(value) else value


@pytest.mark.parametrize("other", ["precision: 14, scale: 2", "precision: 12, scale: 3"])
async def test_a_column_keeps_its_digits(house: House, other: str) -> None:
    await furnished(house, "orders", ORDERS)
    await furnished(house, "orders", ORDERS.replace("doc: Orders.", "doc: Orders of ours."))
    catalogs.written(
        house.pipelines / "orders" / "pipeline.yaml", ORDERS.replace("precision: 12, scale: 2", other)
    )
    changed = house.catalog.contracts["orders"]
    with pytest.raises(ContractError, match=r"orders\.amount is stored as numeric\(12,2\)"):
        await prepare_table(house.connection, changed)
