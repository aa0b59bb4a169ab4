"""A whole number is stored as it was sent, or its record is rejected: never another one."""

import json
from typing import Any

import polars as pl
import pytest

from tasks.batch import Format, Layout
from tasks.contract import Contract
from tasks.decode import cells
from tasks.decode.messages import Decoder
from tasks.decode.tabular import decode_csv

CONTRACT = Contract.model_validate(
    {
        "table": "counts",
        "key": ["at"],
        "time": "at",
        "columns": [
            {"name": "at", "type": "timestamp"},
            {"name": "n", "type": "integer"},
            {"name": "x", "type": "float"},
            {"name": "said", "type": "json"},
        ],
    }
)


def of_json(**said: str) -> dict[str, Any]:
    parts = ['"at": "2026-11-21T08:00:00Z"', *(f'"{name}": {text}' for name, text in said.items())]
    payloads = pl.Series("payload", [f"{{{', '.join(parts)}}}".encode()], pl.Binary)
    return only(Decoder(CONTRACT).decode(payloads).records)


def of_csv(**said: str) -> dict[str, Any]:
    cell = [f'"{text.replace(chr(34), chr(34) * 2)}"' for text in said.values()]
    header, line = f"at,{','.join(said)}\n", f"2026-11-21T08:00:00Z,{','.join(cell)}\n"
    return only(decode_csv(header.encode(), line.encode(), Layout(format=Format.CSV), CONTRACT).records)


def only(records: pl.DataFrame) -> dict[str, Any]:
    (row,) = records.rows(named=True)
    return row


WAYS = pytest.mark.parametrize("read", [of_json, of_csv])


@WAYS
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9007199254740993", 9007199254740993),
        ("9223372036854775807", 2**63 - 1),
        ("9007199254740991.0", 2**53 - 1),
    ],
)
def test_a_whole_number_is_that_number(read: Any, text: str, value: int) -> None:
    assert read(n=text)["n"] == value


@WAYS
@pytest.mark.parametrize("text", ["9007199254740993.0", "9007199254740992.0", "-9007199254740993.0", "1e16"])
def test_one_that_may_have_been_another_is_rejected(read: Any, text: str) -> None:
    row = read(n=text)
    assert row["n"] is None
    assert row[cells.fault("n")] in ("n.type", "n.range")


@WAYS
@pytest.mark.parametrize("text", ["12345678901234567890123", "18446744073709551616", "-9223372036854775809"])
def test_one_beyond_64_bits_is_not_stored_as_json(read: Any, text: str) -> None:
    for said in (text, f'{{"inside": [{text}]}}'):
        row = read(said=said)
        assert (row["said"], row[cells.fault("said")]) == (None, "said.json")


@WAYS
@pytest.mark.parametrize(
    "text", ["18446744073709551615", "-9223372036854775808", "0.12345678901234567890123"]
)
def test_one_of_64_bits_is(read: Any, text: str) -> None:
    assert json.loads(read(said=text)["said"]) == json.loads(text)


def test_one_that_stands_too_deep_to_be_read_exactly_is_rejected_and_says_why() -> None:
    deep = f"{'[' * 300}1234567890123456789{']' * 300}"
    payload = f'{{"at": "2026-11-21T08:00:00Z", "other": {deep}}}'.encode()
    decoded = Decoder(CONTRACT).decode(pl.Series("payload", [payload], pl.Binary))
    assert decoded.records.is_empty()
    assert decoded.undecodable["rule"].to_list() == ["payload.json"]
    assert "recursion limit" in decoded.undecodable["detail"].item()
    shallow = payload.replace(b"1234567890123456789", b"1")
    assert Decoder(CONTRACT).decode(pl.Series("payload", [shallow], pl.Binary)).records.height == 1
    columns = tuple(column for column in CONTRACT.columns if column.name != "said")
    without = CONTRACT.model_copy(update={"columns": columns})
    assert Decoder(without).decode(pl.Series("payload", [payload], pl.Binary)).records.height == 1
    row = of_csv(said=deep)
    assert (row["said"], row[cells.fault("said")]) == (None, "said.json")


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ("at,n,Gerät".encode("latin-1"), None),  # a name that is ignored in any encoding
        ("at,Größe".encode("latin-1"), None),
        ("Zeit,Größe".encode("latin-1"), "payload.encoding"),
        ("Zeit,Größe".encode(), "header.none"),
    ],
)
def test_a_first_line_in_another_encoding_matters_where_it_cannot_be_read(
    header: bytes, rule: str | None
) -> None:
    cell = b"1," * header.count(b",") + b"1\n"
    line = b"2026-11-21T08:00:00Z," + cell[2:]
    decoded = decode_csv(header + b"\n", line, Layout(format=Format.CSV), CONTRACT)
    assert decoded.undecodable["rule"].to_list() == ([rule] if rule else [])
    assert decoded.records.height == (rule is None)
