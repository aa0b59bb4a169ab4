"""What Kafka keeps beside a message: its key, its headers, and when it was sent."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.catalog import Pipeline
from infra.kafka import Polled
from lineage.digest import digests_of, message_digests
from tasks.batch import BESIDE_SCHEMA, MESSAGE_SCHEMA, RawBatch, Reference, Refined
from tasks.extract.kafka import _Messages
from tasks.load.raw import beside_at, pack, unpack
from tests.fixtures import catalogs

NOW = datetime(2026, 11, 26, 20, tzinfo=UTC)
SENT = NOW - timedelta(seconds=5)
PAYLOAD = b'{"at": "2026-11-26T19:00:00Z"}'
ORDERS = """
doc: Orders.
owner: shop
source: {type: kafka, topic: orders}
table:
  name: orders
  key: [id, at]
  time: at
  columns:
    id: {type: text, from: {key: text}}
    at: {type: timestamp}
    trace: {type: text, from: {header: trace-id}}
    weight: {type: float, unit: kg, from: {header: weight}, from_unit: lb, null_values: ["-"]}
    sent: {type: timestamp, from: {sent: time}}
"""
Header = tuple[str, bytes | None]
WHOLE = pl.Schema({**MESSAGE_SCHEMA, **BESIDE_SCHEMA})


@pytest.fixture
def orders(tmp_path: Path) -> Pipeline:
    catalogs.written(tmp_path / "orders" / "pipeline.yaml", ORDERS)
    return catalogs.read(tmp_path).pipeline("orders")


def polled(
    *messages: tuple[bytes | None, list[Header] | None, int | None], payload: bytes = PAYLOAD
) -> Polled:
    keys, headers, sent = ([each[at] for each in messages] for at in range(3))
    count = len(messages)
    offsets, payloads = list(range(count)), [payload] * count
    return Polled([0] * count, offsets, payloads, keys, headers, sent, False, NOW, NOW)  # type: ignore[arg-type]


def frame(of: Polled) -> pl.DataFrame:
    return _Messages.of("orders", of, {0: 0}).frame


def refined(pipeline: Pipeline, messages: pl.DataFrame) -> Refined:
    batch = RawBatch(dataset="kafka:orders", messages=messages, received_at=NOW, received_until=NOW)
    return pipeline.refine()(batch, Reference(frames={}))


def test_key_headers_and_time_are_columns(orders: Pipeline) -> None:
    headers: list[Header] = [("trace-id", b"t1"), ("weight", b"2"), ("trace-id", b"t2")]
    whole = frame(
        polled((b"o-1", headers, round(SENT.timestamp() * 1000)), (b"o-2", [("weight", b"-")], None))
    )
    found = refined(orders, whole)
    assert found.accepted["orders"].select("id", "trace", "weight", "sent").rows() == [
        ("o-1", "t2", 2 * 0.45359237, SENT),
        ("o-2", None, None, None),
    ]


def test_a_batch_without_any_is_kept_as_it_was() -> None:
    plain = frame(polled((None, None, None), (None, [], None)))
    assert plain.schema == MESSAGE_SCHEMA
    assert frame(polled((None, None, 1), (None, None, None))).columns == ["location", "payload", "sent_at"]


def test_what_is_not_there_or_is_no_text_is_a_fault_of_its_column(orders: Pipeline) -> None:
    bad = frame(
        polled((None, None, 1), (b"\xff", [("trace-id", b"\xfc"), ("weight", b"x")], 1), (b"ok", None, 1))
    )
    found = refined(orders, bad)
    assert found.rejected["rules"].to_list() == [["id.required"], ["id.utf8", "trace.utf8", "weight.type"]]
    assert (
        found.rejected["message"][1]
        == "id is not UTF-8 text; trace is not UTF-8 text; weight is not a number."
    )
    assert found.accepted["orders"]["id"].to_list() == ["ok"]
    stored_before = pl.DataFrame([("orders/0@1", PAYLOAD)], MESSAGE_SCHEMA, orient="row")
    assert refined(orders, stored_before).rejected["rules"].to_list() == [["id.required"]]


def test_a_message_without_a_value_is_rejected_as_ever(orders: Pipeline) -> None:
    tombstone = frame(polled((b"o-1", None, 1), payload=b""))
    assert refined(orders, tombstone).rejected["rules"].to_list() == [["payload.empty"]]
    assert tombstone["key"].to_list() == [b"o-1"]


def test_lineage_leads_to_the_envelope(orders: Pipeline) -> None:
    edges = orders.columns("kafka:orders")["orders"]
    assert {each.target_column: each.source_column for each in edges if each.kind == "DIRECT"} == {
        "id": "message.key",
        "at": "at",
        "trace": "message.headers.trace-id",
        "weight": "message.headers.weight",
        "sent": "message.sent_at",
    }


def a_message(key: bytes | None, headers: list[dict[str, Any]] | None, payload: bytes | None = b"x") -> Any:
    return ("orders/0@1", payload, key, headers, SENT)


def test_a_digest_covers_what_came_beside_and_depends_on_its_message_alone() -> None:
    one, two = {"name": "a", "value": b"1"}, {"name": "a", "value": None}
    rows = [
        a_message(None, None),
        a_message(b"", None),
        a_message(b"k", None),
        a_message(b"k", [one, two]),
        a_message(b"k", [two, one]),
        a_message(b"k", [one]),
        a_message(None, [one]),
        a_message(b"k", [one], payload=b"y"),
    ]
    messages = pl.DataFrame(rows, WHOLE, orient="row")
    digests = digests_of(messages)
    assert digests.n_unique() == len(rows)
    assert digests[0] == message_digests(messages["payload"])[0]
    parts = [messages[at : at + 1] for at in range(len(rows))]
    assert [digests_of(part)[0] for part in parts] == digests.to_list()
    assert digests_of(pl.concat(parts, rechunk=False)).to_list() == digests.to_list()
    assert digests_of(pl.DataFrame([a_message(b"k", None, None)], WHOLE, orient="row")).to_list() == [None]


def test_it_is_packed_with_the_bytes_and_can_be_looked_at() -> None:
    messages = pl.DataFrame([a_message(b"K\xfc", [{"name": "a", "value": b"1"}])], WHOLE, orient="row")
    again = unpack(pack(messages))
    assert again.equals(messages)
    batch = RawBatch(dataset="kafka:orders", messages=again, received_at=NOW, received_until=NOW)
    assert beside_at(batch, 0) == {"key": "K\\xfc", "header a": "1", "sent_at": SENT.isoformat()}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (ORDERS.replace("{key: text}", "{key: a.b}"), "Input should be 'text'"),
        (ORDERS.replace("{header: trace-id}", '{header: ""}'), "at least 1 character"),
        (
            ORDERS.replace("sent: {type: timestamp", "sent: {type: text"),
            "when the record was sent: its type",
        ),
        (ORDERS.replace("{sent: time}", "{sent: time}, zone: UTC"), "was sent, so `zone` does nothing"),
        (ORDERS.replace("trace: {type: text", "trace: {type: json"), "what comes beside a record is no JSON"),
        (
            ORDERS.replace("{type: kafka, topic: orders}", "{type: mqtt, topic: orders}"),
            "orders: id is read by {key: text}, which Kafka alone has, and the source is mqtt",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, said: str, why: str) -> None:
    catalogs.written(tmp_path / "orders" / "pipeline.yaml", said)
    assert why in catalogs.why_not(tmp_path)
