"""Where a record cannot be decoded, and why: what its message says to a person."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from lineage import naming
from tasks.batch import MESSAGE_SCHEMA, Format, RawBatch, Reference
from tasks.decode.messages import Decoder
from tasks.layout import Layout
from tasks.transform import records
from tests.fixtures.catalogs import contract as contract_of
from tests.fixtures.readings import steps_of

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
CONTRACT = contract_of("sensor_readings")
GOOD = json.dumps({"device_id": "d1", "timestamp": "2026-11-21T08:00:00Z"}).encode()


def messages(*payloads: bytes, layout: Layout | None = None) -> list[str]:
    dataset = naming.mqtt("sensors/+/readings") if layout is None else "file:x/*.csv"
    rows = [("sensors/d1/readings", payload) for payload in payloads]
    batch = RawBatch(
        dataset=dataset,
        messages=pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
        layout=layout,
    )
    refined = records.refine(batch, Reference(frames={}), Decoder(CONTRACT), steps=steps_of(CONTRACT))
    return refined.rejected["message"].to_list()


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"{oops", "unexpected character, expected a string key, at byte 2 (line 1, column 2)"),
        (GOOD[:-1], f"unexpected end of data, at byte {len(GOOD)} (line 1, column {len(GOOD)})"),
        (
            '{"ä":\n 1, x}'.encode(),
            "unexpected character, expected a string key, at byte 12 (line 2, column 5)",
        ),
        (b'{"a": NaN}', "unexpected character, expected a JSON value, at byte 7 (line 1, column 7)"),
    ],
)
def test_what_is_no_json_says_where_and_why(payload: bytes, said: str) -> None:
    assert messages(GOOD, payload) == [f"the message is not JSON: {said}."]


def test_what_is_no_utf8_says_where() -> None:
    assert messages(b'{"a": "\xfc"}') == ["the message is not UTF-8 text: invalid start byte at byte 8."]


def test_a_line_with_another_number_of_cells_says_both() -> None:
    header = b"device_id,timestamp,temperature\n"
    said = messages(header, b'd1,2026-11-21T08:00:00Z,1,2\nd1\nd1,"x"y,3\n', layout=Layout(format=Format.CSV))
    sentence = "the line has more or fewer cells than columns have names, or a quote out of place"
    assert said == [
        f"{sentence}: expected 3 cells, found 4.",
        f"{sentence}: expected 3 cells, found 1.",
        f"{sentence}.",
    ]
