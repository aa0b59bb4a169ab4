"""Both ways to decode agree on every message, whatever else is in the batch."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.batch import Reference, Refined
from tasks.contract import Column, ColumnType, Contract, Missing
from tasks.decode.messages import Decoder
from tasks.transform.records import refine
from tasks.transform.validate import rules_of
from tests.fixtures.readings import READING, message, raw_batch, steps_of

NEVER = 10**9  # more messages than any batch has: every one of them is read the strict way

# A contract with every type, so that no type is read in one way only.
EVERY_TYPE = Contract(
    table="things",
    columns=(
        Column(name="name", type=ColumnType.TEXT, missing=Missing.REJECT),
        Column(name="at", type=ColumnType.TIMESTAMP, missing=Missing.REJECT),
        Column(name="value", type=ColumnType.FLOAT),
        Column(name="count", type=ColumnType.INTEGER),
        Column(name="price", type=ColumnType.DECIMAL, precision=12, scale=2),
        Column(name="on", type=ColumnType.BOOLEAN),
        Column(name="notes", type=ColumnType.JSON),
        Column(name="deep", type=ColumnType.FLOAT, path=("outer", "inner", "deep")),
        Column(name="side", type=ColumnType.TEXT, path=("outer", "side")),
    ),
    key=("name", "at"),
    time="at",
)

STRICT = Decoder(EVERY_TYPE, learn_from=NEVER)


def eager() -> Decoder:
    """A decoder that learns the shape of every message."""
    return Decoder(EVERY_TYPE, learn_from=1, worth=1)


literals = st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "1e999", "-0", "-0.0", "0.1", "01", "1.", "1E5", "1e-400", "9" * 30,
     "9" * 400, "999999999999999", "1000000000000000", "9223372036854775807", "9223372036854775808",
     "18446744073709551616", "5.0", "9007199254740993", "true", "null", '""',
     '"\\u0000"', '"\\ud800"', '"\\u00e9"', '"a\\nb"',
     '"\x7fé"', '"2026-11-21T11:59:58Z"', '"2026-11-21T11:59:58"', "1795262398",
     "1795262398123", '"21.5"', "[]",
     "{}", "[1]", '{"inner":{"deep":1}}', '{"inner":5}', '{"inner":null,"side":"x"}', '{"side":[]}', '"x',
     "tru",
     "-", "+1", ".5"]
)  # fmt: skip
numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70)).map(
    json.dumps
)
texts = st.text(max_size=6).map(lambda text: json.dumps(text, ensure_ascii=False))
values = st.one_of(literals, numbers, texts)
names = st.sampled_from([*"xyz", "name", "at", "value", "count", "price", "on", "notes", "outer", "side"])
members = st.tuples(names, values)
spaces = st.sampled_from(["", "", " ", "\n", "\t", "\r\n", "\x0b"])


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Something like a JSON object, with any names, values and spaces; a name may come twice."""
    pairs = draw(st.lists(members, max_size=6))
    space = draw(spaces)
    inner = f",{space}".join(f'"{name}"{space}:{value}' for name, value in pairs)
    return f"{{{inner}}}{space}".encode()


@st.composite
def alike(draw: st.DrawFn) -> list[bytes]:
    """Messages of one template, a value or two of them exchanged: the case of shapes."""
    chosen = draw(st.lists(names, unique=True, min_size=1, max_size=6))
    rows = draw(
        st.lists(st.lists(values, min_size=len(chosen), max_size=len(chosen)), min_size=2, max_size=6)
    )
    return [
        ("{" + ", ".join(f'"{n}": {v}' for n, v in zip(chosen, row, strict=True)) + "}").encode()
        for row in rows
    ]


batches = st.one_of(
    alike(),
    st.lists(st.one_of(objects(), st.binary(max_size=12)), min_size=1, max_size=8),
    st.tuples(alike(), st.lists(objects(), max_size=3)).map(lambda parts: parts[0] + parts[1]),
)


def outcome(payloads: Sequence[bytes], decoder: Decoder) -> list[dict[str, Any]]:
    """What each message was decoded to, in their order; an absent fault is a null one."""
    decoded = decoder.decode(pl.Series(payloads, dtype=pl.Binary))
    rows = [*decoded.records.to_dicts(), *decoded.undecodable.to_dicts()]
    assert sorted(row["sequence"] for row in rows) == list(range(len(payloads)))
    ordered = sorted(rows, key=lambda row: int(row["sequence"]))
    return [{k: repr(v) for k, v in row.items() if v is not None} for row in ordered]


@settings(max_examples=400, deadline=None)
@given(batches)
@example([b'{"at": NaN, "price": NaN}', b'{"at": 0.0, "price": NaN}'])
def test_shapes_and_records_agree(payloads: list[bytes]) -> None:
    assert outcome(payloads, eager()) == outcome(payloads, STRICT)


@settings(max_examples=100, deadline=None)
@given(st.lists(batches, min_size=2, max_size=4))
def test_what_was_read_before_changes_nothing(several: list[list[bytes]]) -> None:
    """The shapes that a decoder remembers are those of other batches too."""
    remembering = eager()
    for payloads in several:
        assert outcome(payloads, remembering) == outcome(payloads, STRICT)


@settings(max_examples=100, deadline=None)
@given(batches, st.randoms(use_true_random=False))
def test_a_message_is_read_the_same_alone(payloads: list[bytes], random: Any) -> None:
    together = outcome(payloads, eager())
    random.shuffle(order := list(range(len(payloads))))
    for at in order[:4]:
        (alone,) = outcome([payloads[at]], eager())
        assert alone | {"sequence": str(at)} == together[at]


@settings(max_examples=200, deadline=None)
@given(batches)
def test_every_fault_is_a_rule(payloads: list[bytes]) -> None:
    """A fault that no rule knows would let its record pass with a null."""
    records = eager().decode(pl.Series(payloads, dtype=pl.Binary)).records
    faults = {name: records[name] for name in records.columns if name.endswith(".fault")}
    named = {rule.name for rule in rules_of(EVERY_TYPE, datetime(2026, 11, 21, tzinfo=UTC), records.schema)}
    assert {fault for column in faults.values() for fault in column.drop_nulls()} <= named


def test_the_fast_way_is_really_taken(contract: Contract) -> None:
    """The agreement would be worth nothing if every message were read the strict way."""
    payloads = [message(temperature=n / 10) for n in range(500)]
    messages = pl.DataFrame(
        {"sequence": range(500), "payload": payloads}, schema_overrides={"sequence": pl.Int32}
    )
    read, rest = Decoder(contract).by_shapes(messages)
    assert (sum(frame.height for frame in read), rest.height) == (500, 0)


def test_small_batches_take_it_once_their_shape_has_paid(contract: Contract) -> None:
    decoder, fast = Decoder(contract), []
    for start in range(0, 600, 100):
        payloads = [message(temperature=n / 10) for n in range(start, start + 100)]
        messages = pl.DataFrame(
            {"sequence": range(100), "payload": payloads}, schema_overrides={"sequence": pl.Int32}
        )
        fast.append(decoder.by_shapes(messages)[1].is_empty())
    assert not fast[0]
    assert fast[-1]


readings = st.fixed_dictionaries(
    {
        "timestamp": st.one_of(
            st.integers(0, 10**6).map(
                lambda s: (datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=s)).isoformat()
            ),
            st.sampled_from(["2026-11-21T00:00:00", 1795262398, "x", 7, None, "2030-01-01T00:00:00Z"]),
        ),
        "temperature": st.one_of(st.floats(-60, 110), st.sampled_from(["1", None, True])),
    },
    optional={
        "humidity": st.floats(-5, 105),
        "location": st.sampled_from([{"latitude": 48.1, "longitude": 11.5}, {"latitude": 91}, None, "here"]),
    },
)


def verdicts(result: Refined) -> dict[int, Any]:
    """Per message its stored row or what was wrong with it, without its place in the batch."""
    rows = result.accepted["sensor_readings"].to_dicts() + result.rejected.to_dicts()
    return {row["sequence"]: {k: repr(v) for k, v in row.items() if k != "sequence"} for row in rows}


@settings(max_examples=60, deadline=None)
@given(st.lists(readings, min_size=1, max_size=12), st.integers(1, 11))
def test_no_verdict_depends_on_the_grouping(
    contract: Contract, given: list[dict[str, Any]], cut: int
) -> None:
    """Each device sends once, so that no key comes twice."""
    devices = [f"d{n}" for n in range(len(given))]
    payloads = [
        json.dumps(READING | {"device_id": d} | r).encode() for d, r in zip(devices, given, strict=True)
    ]
    topics = [f"sensors/{device}/readings" for device in devices]
    steps = steps_of(contract)

    def run(start: int, end: int) -> dict[int, Any]:
        batch = raw_batch(payloads[start:end], topics[start:end])
        found = verdicts(refine(batch, Reference(frames={}), Decoder(contract), steps=steps))
        return {sequence + start: verdict for sequence, verdict in found.items()}

    assert run(0, len(payloads)) == run(0, cut) | run(cut, len(payloads))
