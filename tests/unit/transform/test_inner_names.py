"""A contract's column may be named as something in the frames of ours: neither is taken for the other."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from tasks.again.changes import compare
from tasks.batch import MESSAGE_SCHEMA, RawBatch, Reference
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.load.standing import ORIGIN, STANDS
from tasks.load.verdicts import OPEN_SCHEMA, at_issue
from tasks.transform import records as readings
from tasks.transform.steps.kinds import Steps
from tasks.transform.steps.place import Place, PlaceColumns

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMES = (
    *("matched", "text", "payload", "rules", "rule", "key", "table", "message", "stage", "error_type"),
    *("latitude_cell", "longitude_cell", "latitude_cell_right", "country_right", "own", "stands", "fits"),
)
CONTRACT = Contract.model_validate(
    {
        "table": "things",
        "key": ["id", "at"],
        "time": "at",
        "columns": [
            {"name": "id", "type": "text"},
            {"name": "at", "type": "timestamp"},
            {"name": "latitude", "type": "float", "maximum": 90},
            {"name": "longitude", "type": "float"},
            {"name": "place", "type": "text", "set": True},
            *({"name": name, "type": "text"} for name in NAMES),
        ],
    }
)

COORDINATES = {"latitude": "latitude", "longitude": "longitude"}
STEPS = Steps(CONTRACT, [Place(place=PlaceColumns(add={"place": "city"}, **COORDINATES))])


def record(minute: int, latitude: float = 52.52) -> dict[str, object]:
    said = {"id": "a", "at": f"2026-11-21T08:{minute:02}:00Z", "latitude": latitude, "longitude": 13.4}
    return said | {name: f"{name} {minute}" for name in NAMES}


@pytest.fixture(params=["by shapes", "one by one"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    alone = request.param == "one by one"
    return Decoder(CONTRACT, learn_from=10**9 if alone else 1, worth=10**9 if alone else 1)


def test_every_column_keeps_what_the_record_said(decoder: Decoder) -> None:
    records = [record(0), record(1), record(2, latitude=91), {**record(3), "rules": 7}, record(0), record(4)]
    records[4]["rules"] = "another"  # a conflict
    payloads = [("kafka/0", json.dumps(each).encode()) for each in records]
    batch = RawBatch(
        dataset="kafka:things",
        messages=pl.DataFrame(payloads, schema=MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
    )
    refined = readings.refine(batch, Reference(frames={}), decoder, steps=STEPS)
    accepted = refined.accepted["things"].sort("at")
    assert accepted.select(NAMES).rows(named=True) == [
        {name: f"{name} {minute}" for name in NAMES} for minute in (0, 1, 4)
    ]
    assert accepted["place"].to_list() == ["Mitte"] * 3
    rejected = refined.rejected.sort("sequence")
    assert rejected["rules"].to_list() == [["latitude.range"], ["rules.type"], ["key.conflict"]]
    assert rejected["key"].str.contains("08:02").to_list() == [True, False, False]

    open_ones = pl.DataFrame([(b"x", 1, None, ["a.b"], True)], schema=OPEN_SCHEMA, orient="row")
    issue = at_issue(refined, open_ones).accepted["things"]
    assert issue.select("own", "stands").rows() == [("own 1", "stands 1")]

    stood = accepted.with_columns(pl.lit(1, pl.Int64).alias("batch"), pl.lit(True).alias(STANDS))
    stood = stood.select(*CONTRACT.names, *ORIGIN, STANDS)
    compared = compare(stood, accepted.with_columns(own=pl.lit("changed")), CONTRACT)
    assert (compared.changes.changed, compared.changes.columns) == (3, {"own": 3})
