"""A robot's record is read and judged as the same record of any other source is, whatever stands in it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from lineage.errors import ContractError
from tasks.batch import MESSAGE_SCHEMA, RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.table_definition import TableDefinition
from tasks.transform import records
from tasks.transform.transforms import Parameters, bound
from tests.fixtures.catalogs import contract as shipped

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
COLUMNS: Mapping[str, Any] = {
    "level": {"type": "float", "from": "params.level", "minimum": 0, "maximum": 1e21},
    "count": {"type": "integer", "from": "params.count", "maximum": 10**18},
    "price": {"type": "decimal", "precision": 30, "scale": 20, "from": "params.price"},
    "on": {"type": "boolean", "from": "params.on"},
    "local": {"type": "timestamp", "from": "params.local", "zone": "Europe/Berlin"},
    "at_all": {"type": "timestamp", "from": "params.at"},
    "unit": {"type": "text", "from": "params.unit", "max_length": 3, "one_of": ["°C", "K", "kPa"]},
    "order": {"type": "text", "from": "params.order", "regex": "o-[0-9]+|none", "min_length": 4},
    "code": {"type": "text", "from": "params.code", "map": {"1": "one", "true": "yes"}},
    "depth": {
        "type": "float",
        "unit": "mm",
        "from": "params.depth",
        "from_unit": "m",
        "null_values": [-9999],
    },
    "lab": {"type": "text", "constant": "north"},
    "came": {"type": "timestamp", "from": {"received": "time"}},
    "x": {"type": "float", "from": "params.place.x"},
    "y": {"type": "float", "from": "params.place.y"},
    "kept": {"type": "json", "from": "params.kept"},
}
TOGETHER = [{"name": "place", "columns": ["x", "y"]}]


def table(name: str, columns: Mapping[str, Any], key: list[str], time: str, on_return: str) -> Contract:
    said = {"key": key, "time": time, "on_return": on_return, "together": TOGETHER, "columns": columns}
    return TableDefinition.model_validate(said).contract(name)


THINGS = table(
    "things",
    {"id": {"type": "text"}, "at": {"type": "timestamp", "from": "createdAt"}, **COLUMNS},
    ["id", "at"],
    "at",
    "append",
)


def steps() -> Contract:
    """The shipped contract of steps with these columns too."""
    more = [column for column in THINGS.columns if column.name in COLUMNS]
    own = shipped("experiment_steps")
    said = own.model_dump(mode="python") | {"columns": (*own.columns, *more), "together": THINGS.together}
    return Contract.model_validate(said)


CONTRACTS = {"experiments": shipped("experiments"), "experiment_steps": steps()}
BOUND = bound("experiments", CONTRACTS, Parameters(source_name="bench"))


def a_batch(*messages: tuple[str, bytes]) -> RawBatch:
    frame = pl.DataFrame(list(messages), MESSAGE_SCHEMA, orient="row")
    return RawBatch(dataset="x:y", messages=frame, received_at=NOW, received_until=NOW)


def as_command(params: str) -> str:
    at = "2026-11-21T11:00:00Z"
    return f'{{"id": "c1", "createdAt": "{at}", "commandType": "x", "status": "y", "params": {params}}}'


def of_a_robot(record: str) -> Refined:
    run = {"data": {"id": "r", "createdAt": "2026-11-21T10:00:00+00:00", "status": "running"}}
    page = f'{{"data": [ {record} ], "meta": {{"cursor": 0}}}}'
    return BOUND(
        a_batch(("/runs/r", json.dumps(run).encode()), ("/runs/r/commands?cursor=0", page.encode())),
        Reference(frames={}),
    )


def of_a_sensor(record: str) -> Refined:
    batch = a_batch(("t", record.encode()))
    return records.refine(batch, Reference(frames={}), Decoder(THINGS))


@pytest.mark.parametrize(
    "params",
    [
        "{}",
        "null",
        "[1]",
        '{"level": 1e20}',
        '{"level": 3.5e18}',
        '{"level": 0.0}',
        '{"level": -0.0}',
        '{"level": -1}',
        '{"level": "5"}',
        '{"level": true}',
        '{"level": 1e400}',
        '{"level": NaN}',
        '{"count": 2.0}',
        '{"count": 1.5}',
        '{"count": 3.5e18}',
        '{"count": 3500000000000000000}',
        '{"count": 9223372036854775808}',
        '{"count": 1e20}',
        '{"price": 0.10000000000000000001}',
        '{"price": "12.30"}',
        '{"price": 1e-21}',
        '{"price": "a"}',
        '{"on": true}',
        '{"on": 1}',
        '{"local": "2026-07-01T12:00:00"}',
        '{"local": "2026-10-25T02:30:00"}',
        '{"local": "2026-03-29T02:30:00"}',
        '{"at": 1772352000}',
        '{"at": 1772352000123}',
        '{"at": 5}',
        '{"at": "2026-11-21T11:00:00"}',
        '{"at": "2026-11-21 11:00:00z"}',
        '{"at": "2026-11-21T11:00:00.1234567+05:30"}',
        '{"at": "20261121T110000Z"}',
        '{"at": "2026-13-21T11:00:00Z"}',
        '{"at": "2026-11-21T11:00:00Z\\n"}',
        '{"unit": "kPa"}',
        '{"unit": "km/h"}',
        '{"unit": 3}',
        '{"unit": "\\u0000"}',
        '{"order": "o-17"}',
        '{"order": "an o-17"}',
        '{"order": "é"}',
        '{"code": 1}',
        '{"code": 1.0}',
        '{"code": true}',
        '{"code": "2"}',
        '{"code": {}}',
        '{"depth": 1.5}',
        '{"depth": -9999}',
        '{"place": {"x": 1.0}}',
        '{"place": {"x": 1.0, "y": 2}}',
        '{"place": {"x": 1.0, "y": "2"}}',
        '{"place": [1, 2]}',
        '{"kept": {"b": [1, "é"], "a": null}}',
        '{"kept": {"a": 123456789012345678901234567890}}',
        '{"kept": "\\u0000"}',
        '{"kept": {"x": NaN}}',
        '{"unit": "\\ud800"}',
        '{"unit": "K", "unit": "kPa"}',
        '{"unit": "", "level": 1e22, "on": "yes", "at": "soon"}',
    ],
)
def test_a_record_has_the_same_verdict_and_the_same_values_from_anywhere(params: str) -> None:
    robot, sensor = of_a_robot(as_command(params)), of_a_sensor(as_command(params))
    mine, theirs = robot.accepted["experiment_steps"], sensor.accepted["things"]
    assert rules(robot) == rules(sensor)
    assert mine.select(*COLUMNS).to_dicts() == theirs.select(*COLUMNS).to_dicts()


def rules(refined: Refined) -> list[tuple[str, str]]:
    """Stage and name of the broken rules, but those of whole JSON that only steps keep."""
    return sorted(
        (row["stage"], rule)
        for row in refined.rejected.iter_rows(named=True)
        for rule in row["rules"]
        if rule not in ("params.json", "params.nul")
    )


def test_what_a_contract_says_of_reading_means_something_for_a_robot() -> None:
    params = '{"price": 0.10000000000000000001, "local": "2026-07-01T12:00:00", "code": 1, "depth": 1.5}'
    (row,) = of_a_robot(as_command(params)).accepted["experiment_steps"].to_dicts()
    assert row["price"] == Decimal("0.10000000000000000001")
    assert row["local"] == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert (row["code"], row["depth"], row["lab"], row["came"]) == ("one", 1500.0, "north", NOW)
    (row,) = of_a_robot(as_command('{"depth": -9999}')).accepted["experiment_steps"].to_dicts()
    assert row["depth"] is None


def test_a_whole_number_is_an_integer_in_kept_json_for_a_robot_writes_it_in_two_ways() -> None:
    once, again = (
        of_a_robot(as_command(f'{{"z": {zero}, "y": 1e-05, "x": 1.50}}')).accepted["experiment_steps"]
        for zero in ("0", "0.0")
    )
    assert once["params"].to_list() == again["params"].to_list() == ['{"x":1.5,"y":1e-05,"z":0}']
    assert once["input_hash"].to_list() == again["input_hash"].to_list()


def test_a_column_that_is_not_made_of_a_robot_s_runs_is_refused() -> None:
    own = shipped("experiments")
    guess = own.columns[1].model_copy(update={"name": "mood"})
    contracts = CONTRACTS | {"experiments": own.model_copy(update={"columns": (*own.columns, guess)})}
    with pytest.raises(ContractError, match="experiments: mood cannot be derived of a robot's runs, only"):
        bound("experiments", contracts, Parameters(source_name="s"))
