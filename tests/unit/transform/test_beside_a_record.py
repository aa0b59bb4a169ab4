"""What comes beside a record: when it came."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.catalog import Pipeline
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.table_definition import TableDefinition
from tests.fixtures import catalogs

NOW = datetime(2026, 11, 26, 20, 0, 0, 123456, tzinfo=UTC)
AT = "2026-11-26T19:00:00Z"
BOX: dict[str, Any] = {
    "doc": "Boxes.",
    "owner": "lab",
    "source": {"type": "mqtt", "topic": "boxes/{box}"},
    "table": {
        "name": "boxes",
        "key": ["box", "at"],
        "time": "at",
        "columns": {
            "box": {"type": "text", "from": {"topic": "box"}},
            "at": {"type": "timestamp"},
            "celsius": {"type": "float", "maximum": 60},
            "came": {"type": "timestamp", "from": {"received": "time"}},
        },
    },
}
Said = dict[str, Any]


def changed(columns: Said | None = None, steps: list[Said] | None = None, **table: Any) -> Said:
    own = {**BOX["table"], **table, "columns": {**BOX["table"]["columns"], **(columns or {})}}
    return {**BOX, "table": own, **({"steps": steps} if steps else {})}


def boxes(directory: Path, said: Said = BOX) -> Pipeline:
    catalogs.written(directory / "boxes" / "pipeline.yaml", said)
    return catalogs.read(directory).pipeline("boxes")


def refined(pipeline: Pipeline, *records: Said, at: datetime = NOW) -> Refined:
    messages = [("boxes/b", json.dumps({"at": AT, **record}).encode()) for record in records]
    frame = pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row")
    batch = RawBatch(dataset="mqtt:boxes/+", messages=frame, received_at=at, received_until=at)
    return pipeline.refine()(batch, Reference(frames={}))


def test_when_a_record_came_is_a_column_whatever_it_says_itself(tmp_path: Path) -> None:
    found = refined(boxes(tmp_path), {"celsius": 21.5, "came": "2020-01-01T00:00:00Z"})
    assert found.accepted["boxes"].select("box", "celsius", "came").rows() == [("b", 21.5, NOW)]


def test_a_record_that_comes_again_is_the_same_record(tmp_path: Path) -> None:
    pipeline = boxes(tmp_path)
    one, other = (
        refined(pipeline, {"celsius": 21.5}, at=NOW + late).accepted["boxes"]
        for late in (timedelta(), timedelta(hours=3))
    )
    assert one["input_hash"].to_list() == other["input_hash"].to_list()
    assert one["came"].to_list() != other["came"].to_list()


def test_it_is_there_in_every_format(tmp_path: Path) -> None:
    said = changed({"box": {"type": "text"}})
    said["source"] = {"type": "files", "folder": "boxes", "pattern": "*.csv"}
    lines = [("a.csv:1", b"box,at,celsius\n"), ("a.csv:2", f"b,{AT},1.5\nc,{AT},2\n".encode())]
    frame = pl.DataFrame(lines, MESSAGE_SCHEMA, orient="row")
    layout = Layout(format=Format.CSV)
    batch = RawBatch(
        dataset="file:boxes/*.csv", messages=frame, received_at=NOW, received_until=NOW, layout=layout
    )
    found = boxes(tmp_path, said).refine()(batch, Reference(frames={}))
    assert found.accepted["boxes"].select("box", "came").rows() == [("b", NOW), ("c", NOW)]


def test_its_lineage_leads_to_the_arrival(tmp_path: Path) -> None:
    edges = boxes(tmp_path).columns("mqtt:boxes/+")["boxes"]
    (found,) = [each for each in edges if each.target_column == "came" and each.kind == "DIRECT"]
    assert (found.source_dataset, found.source_column) == ("mqtt:boxes/+", "message.received_at")
    assert found.subtype == "IDENTITY"
    none = changed({"came": {"type": "timestamp"}})
    sources = {each.source_column for each in boxes(tmp_path, none).columns("mqtt:boxes/+")["boxes"]}
    assert "message.received_at" not in sources


def test_a_step_reads_it(tmp_path: Path) -> None:
    said = changed({"late": {"type": "boolean"}}, [{"set": {"late": "came > at"}}])
    assert refined(boxes(tmp_path, said), {}).accepted["boxes"]["late"].to_list() == [True]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (changed(key=["box", "at", "came"]), "came is when the record came, so it cannot be in the key"),
        (
            changed(
                {"n": {"type": "timestamp"}, "m": {"type": "timestamp"}},
                [{"set": {"n": "came"}}, {"set": {"m": "n"}}],
                key=["box", "at", "m"],
            ),
            "m is set from when the record came, so it cannot be in the key",
        ),
        (changed({"came": {"type": "text", "from": {"received": "time"}}}), "its type must be timestamp"),
        (
            changed({"came": {"type": "timestamp", "from": {"received": "time"}, "zone": "UTC"}}),
            "came is when the record came, so `zone` does nothing",
        ),
        (
            changed({"came": {"type": "timestamp", "from": {"received": "time"}, "null_values": ["-"]}}),
            "came is when the record came, so `null_values` does nothing",
        ),
        (changed({"came": {"type": "timestamp", "from": {"received": "at"}}}), "Input should be 'time'"),
        (changed({"came": {"type": "timestamp", "from": {"recieved": "time"}}}), "did you mean received?"),
        (
            changed({"came": {"type": "timestamp", "from": {"received": "time", "topic": "box"}}}),
            "say one of these: {topic: NAME}, {file: NAME}, {received: time}, {key: text}",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, said: Said, why: str) -> None:
    catalogs.written(tmp_path / "boxes" / "pipeline.yaml", said)
    told = catalogs.why_not(tmp_path)
    assert re.search(re.escape(why), told), told


def test_what_is_stored_of_a_contract_without_it_is_as_it_was() -> None:
    table = changed({"came": {"type": "timestamp"}})["table"]
    assert '"metadata":{"topic":"box","file":null}' in contract_of(table).model_dump_json()
    with_it = contract_of(BOX["table"])
    assert Contract.stored(with_it.model_dump_json()) == with_it


def contract_of(table: Said) -> Contract:
    return TableDefinition.model_validate(table).contract("boxes")
