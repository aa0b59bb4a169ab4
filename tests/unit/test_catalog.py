"""The catalog of pipelines, and the schema that editors check it with."""

import importlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
import yaml

from flows import catalog
from flows.catalog import Catalog, Pipeline
from flows.catalog.definition import Definition
from infra.settings import load
from lineage.errors import ContractError, NotFoundError
from lineage.model import Run
from tasks.batch import Reference
from tasks.derived.aggregate import DerivedDefinition
from tasks.table_definition import TableDefinition, read_table
from tasks.trigger import TriggerDefinition
from tests.fixtures import catalogs
from tests.fixtures.catalogs import SENSORS, SHIPPED, copied, pipeline, why_not, written
from tests.fixtures.commit import a_batch

ROOT = Path(__file__).parents[2]

FILES = {"type": "files", "folder": "x", "pattern": "*"}


SCHEMAS = {
    "pipeline": Definition,
    "table": TableDefinition,
    "derived": DerivedDefinition,
    "trigger": TriggerDefinition,
}


def schema(of: str) -> str:
    return json.dumps(SCHEMAS[of].model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def published(of: str) -> Path:
    return ROOT / "docs" / f"{of}.schema.json"


@pytest.mark.parametrize("of", SCHEMAS)
def test_the_published_schema_is_the_model(of: str) -> None:
    write = "from tests.unit.test_catalog import *; [published(of).write_text(schema(of)) for of in SCHEMAS]"
    assert published(of).read_text(encoding="utf-8") == schema(of), f'write it again: python -c "{write}"'


def changed(home: Path, file: str, **change: object) -> Path:
    """The shipped folders, with something else in a pipeline's file."""
    path = copied(home) / file
    written(path, yaml.safe_load(path.read_text()) | change)
    return home / "pipelines"


def test_every_file_is_a_pipeline_of_its_own_name() -> None:
    assert SHIPPED.broken == ()
    assert {path.stem for path in catalog.SHIPPED.glob("*/*.yaml")} == set(SHIPPED.pipelines)
    for each in SHIPPED.pipelines.values():
        assert each.transformation().version
        assert {table.name for table in each.tables} == set(each.contracts)


def test_a_transformations_version_follows_its_contract(tmp_path: Path) -> None:
    before = pipeline("sensors")
    said = yaml.safe_load((catalog.SHIPPED / "sensors" / "sensors.yaml").read_text())
    steps = [*said["steps"][:-1], {"set": {"source_name": "'another'"}}]
    renamed = catalogs.read(changed(tmp_path, "sensors/sensors.yaml", steps=steps))
    assert renamed.pipeline("sensors").transformation().version != before.transformation().version
    assert catalog.read(load()).pipeline("sensors").transformation() == before.transformation()


TABLE = {
    "key": ["at"],
    "time": "at",
    "columns": {"at": {"type": "timestamp"}, "watts": {"type": "float"}},
}
POWER = {
    "doc": "Meters.",
    "owner": "me",
    "source": {"type": "mqtt", "topic": "power/#"},
    "transform": "readings",
    "tables": [{"name": "power"}],
}


def of_ones_own(directory: Path, folder: str = "meters") -> Path:
    written(directory / folder / "pipeline.yaml", POWER)
    written(directory / folder / "tables" / "power.yaml", TABLE)
    return directory


def test_folders_of_ones_own_join_the_shipped_ones(tmp_path: Path) -> None:
    one, two = of_ones_own(tmp_path / "one"), tmp_path / "two"
    written(two / "more" / "meters-again.yaml", POWER)
    found = catalog.read(load(pipelines=f"{one}:{two}"))
    assert found.broken == ()
    assert set(found.pipelines) == {*SHIPPED.pipelines, "meters", "meters-again"}
    assert found.pipeline("meters").contracts["power"] is found.contracts["power"]


def test_what_is_broken_is_left_out_and_the_others_stand(tmp_path: Path) -> None:
    own = of_ones_own(tmp_path / "own")
    written(own / "broken" / "broken.yaml", POWER | {"ownr": "me"})
    written(own / "halls" / "halls.yaml", POWER | {"tables": [{"name": "halls"}]})
    written(own / "halls" / "tables" / "halls.yaml", "name: halls")
    written(own / "lost.yaml", POWER)
    written(own / "broken" / "other.yml", POWER)
    written(own / "near" / "near.yaml", POWER | {"tables": [{"name": "powr"}]})
    written(own / "bare" / "bare.yaml", POWER | {"transform": "reading"})
    found = catalog.read_directories((own, tmp_path / "nowhere"))
    assert set(found.pipelines) == {"meters"}
    said = {each.name: each.why for each in found.broken}
    assert said == {
        "lost": f"{own}/lost.yaml: a pipeline stands in a folder: move it into one of its own, "
        "or name the directory above.",
        "nowhere": f"{tmp_path}/nowhere: this directory of pipeline folders cannot be read: "
        "No such file or directory.",
        "halls": f"{own}/halls/halls.yaml: there is no table halls, or its contract is broken: "
        "choose from power.",
        "broken": f"{own}/broken/broken.yaml: line 9, column 1: ownr: Extra inputs are not permitted, "
        "did you mean owner?",
        "other": f"{own}/broken/other.yml: call it other.yaml, to be read.",
        "near": f"{own}/near/near.yaml: there is no table powr, or its contract is broken: "
        "did you mean power?",
        "bare": f"{own}/bare/bare.yaml: there is no transform 'reading': choose from readings, experiments.",
    }
    assert len(found.broken) == 8  # the contract of halls too
    with pytest.raises(ContractError, match=r"^Pipeline broken is broken: .*: ownr"):
        found.pipeline("broken")


def test_of_two_things_of_one_name_the_first_stands_and_both_are_named(tmp_path: Path) -> None:
    one, two = of_ones_own(tmp_path / "one"), of_ones_own(tmp_path / "two")
    written(two / "meters" / "derived" / "sensor_readings.yaml", TABLE)
    found = catalog.read_directories((catalog.SHIPPED, one, two))
    last = "already, in {}: give one of the two another name."
    assert [each.why for each in found.broken] == [
        f"{two}/meters/tables/power.yaml: there is a table power "
        + last.format(one / "meters" / "tables" / "power.yaml"),
        f"{two}/meters/pipeline.yaml: there is a pipeline meters "
        + last.format(one / "meters" / "pipeline.yaml"),
        f"{two}/meters/derived/sensor_readings.yaml: there is a table sensor_readings "
        + last.format("pipelines/sensors/tables/sensor_readings.yaml"),
    ]
    assert found.contracts["sensor_readings"] == SHIPPED.contracts["sensor_readings"]


def test_a_derived_table_is_not_called_like_a_pipeline(tmp_path: Path) -> None:
    """Both would be one name in the record, and each version of one would put the other's out of force."""
    mine = of_ones_own(tmp_path)
    derived = yaml.safe_load(
        (catalog.SHIPPED / "sensors" / "derived" / "sensor_readings_hourly.yaml").read_text()
    )
    written(mine / "meters" / "derived" / "experiments.yaml", derived)
    written(mine / "meters" / "derived" / "meters.yaml", derived)
    for name in ("experiments", "meters"):
        (mine / "meters" / "derived" / f"{name}.sql").write_text("SELECT 1")
    found = catalog.read_directories((catalog.SHIPPED, mine))
    assert {"experiments", "meters"} <= found.pipelines.keys()
    assert not {"experiments", "meters"} & found.derived.keys()
    assert any("there is a pipeline meters already, in " in each.why for each in found.broken)


@pytest.mark.parametrize("name", ["recall", "fold", "erase"])
def test_a_pipeline_is_not_called_like_an_act_of_ours(tmp_path: Path, name: str) -> None:
    assert why_not(of_ones_own(tmp_path, name)).startswith(f"{name} is an act of ours in the record: give")


@pytest.mark.parametrize("name", ["Meters", "my meters", "1st", "m" * 64])
def test_a_folder_is_called_like_a_pipeline_may_be(tmp_path: Path, name: str) -> None:
    assert why_not(of_ones_own(tmp_path, name)).startswith(f"a pipeline cannot be called {name!r}: write")


def test_a_derived_table_is_made_from_tables_that_are_there(tmp_path: Path) -> None:
    path = copied(tmp_path) / "sensors" / "derived" / "sensor_readings_hourly.yaml"
    read: dict[str, Any] = yaml.safe_load(path.read_text())
    written(path, read | {"made_from": ["sensor_reading"]})
    assert why_not(tmp_path / "pipelines").startswith("it is made from sensor_reading, and there is no such")
    written(path, {name: value for name, value in read.items() if name != "made_from"})
    assert "made_from: Field required" in why_not(tmp_path / "pipelines")
    written(path, read)
    path.with_suffix(".sql").unlink()
    assert why_not(tmp_path / "pipelines").startswith(
        "its SELECT in sensor_readings_hourly.sql cannot be read"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": {"type": "telepathy"}}, "telepathy"),
        ({"tables": []}, "it writes no table: give it a `table`, or name its `tables`"),
        ({"sauce": 1}, "sauce"),
        ({"retry": {"times": -1}}, "times"),
        (
            {"source": {"type": "files", "folder": "x", "patern": "*", "archive": "y"}},
            "source.files.pattern: Field required; "
            "line 6, column 3: source.files.patern: Extra inputs are not permitted, did you mean pattern?",
        ),
        (
            {"tables": [{"name": "sensor_readings", "abuot": {}}]},
            "tables.0.abuot: Extra inputs are not permitted, did you mean about?",
        ),
        (
            {"tables": [{"name": "x", "about": {"kind": "device", "column": "device_id", "colum": "x"}}]},
            "tables.0.about.colum: Extra inputs are not permitted, did you mean column?",
        ),
        (
            {"source": FILES | {"follow": True, "archive": "y"}},
            "source.files: archive does nothing for files that are followed: leave it out",
        ),
        (
            {"source": FILES | {"follow": True, "connections": 2}},
            "source.files: connections does nothing for files that are followed: leave it out",
        ),
        (
            {"source": FILES | {"follow": True, "pattern": "**/*.Parquet"}},
            "source.files: a Parquet file does not grow: follow CSV or NDJSON, or leave follow out",
        ),
        ({"ownr": "me"}, ", column 1: ownr: Extra inputs are not permitted, did you mean owner?"),
        ({"zzzz": 1}, "zzzz: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, change: dict[str, object], said: str) -> None:
    sentence = why_not(changed(tmp_path, "sensors/sensors.yaml", **change))
    assert sentence.endswith(said) if "did you mean" in said else said in sentence
    assert "\n" not in sentence
    assert "pydantic" not in sentence


@pytest.mark.parametrize("text", ["a: [", "", "- 1"])
def test_what_is_no_mapping_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    for file in ("power.yaml", "tables/power.yaml", "derived/power.yaml"):
        directory = tmp_path / file.replace("/", " ")
        written(directory / "power" / file, text)
        assert "\n" not in why_not(directory)


def test_a_wrong_contract_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(
        "{name: power, key: [a], time: a, columns: {a: {type: timestamp, requird: 1, minmum: 0}}}"
    )
    with pytest.raises(ContractError) as caught:
        read_table(path)
    assert str(caught.value) == (
        "line 1, column 65: columns.a.requird: Extra inputs are not permitted, did you mean required?; "
        "line 1, column 77: columns.a.minmum: Extra inputs are not permitted, did you mean minimum?"
    )
    path.write_text("{name: power, key: [a], time: a, columns: {b: {type: timestamp}}}")
    with pytest.raises(ContractError, match=r"^power: a is not one of its columns$"):
        read_table(path)


def test_columns_of_files_lead_to_columns_of_a_table(tmp_path: Path) -> None:
    text = yaml.safe_load((SENSORS / "sensors-files.yaml").read_text())
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    sources = [yaml.safe_load(block)["source"] for block in re.findall(r"```yaml\n(.*?)```", page, re.S)]
    (columns,) = (source["columns"] for source in sources if "columns" in source)
    directory = copied(tmp_path)

    def said(columns: dict[str, str]) -> Catalog:
        source = text["source"] | {"columns": columns}
        written(directory / "sensors" / "sensors-files.yaml", text | {"source": source})
        return catalog.read_directories((directory,))

    assert said(columns).pipeline("sensors-files").source.columns == columns  # type: ignore[union-attr]
    for theirs, ours in (("device_id", "Sensor"), ("dew", "dew_point")):  # the wrong way round; derived
        (broken,) = said({theirs: ours}).broken
        assert broken.why == (
            f"{broken.path}: columns says that {theirs} is {ours}, which no table reads: "
            "write `file's name: table's name`, of "
            "device_id, humidity, latitude, longitude, pressure, temperature, timestamp."
        )


def test_a_cap_on_what_is_no_stream_is_refused(tmp_path: Path) -> None:
    directory = changed(tmp_path, "robots/experiments.yaml", max_per_second=10)
    assert why_not(directory) == "this pipeline is no stream, so max_per_second does nothing: leave it out."


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(NotFoundError, match="experiments, sensors"):
        pipeline("sensor")
    with pytest.raises(ContractError, match="choose from readings, experiments"):
        with_transform("reading").refine()
    with pytest.raises(ContractError, match="cannot be loaded"):
        with_transform("nowhere:refine").refine()


def with_transform(name: str) -> Pipeline:
    return pipeline("sensors").model_copy(update={"transform": name})


def test_a_transform_of_your_own_is_a_module_and_a_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CONTRIBUTING.md says: it is called as `function(batch, reference, contracts=…)`."""
    (tmp_path / "our_transform.py").write_text(
        "from tasks.batch import REJECTED_SCHEMA, Refined\n"
        "CALLED = []\n"
        "def refine(batch, reference, contracts):\n"
        "    CALLED.append((batch, reference, contracts))\n"
        "    rejected = REJECTED_SCHEMA.to_frame()\n"
        "    return Refined(accepted={}, rejected=rejected, duplicates=0, filtered=0, read=0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = with_transform("our_transform:refine")
    refine: Any = own.refine()
    reference = Reference(frames={"devices": pl.DataFrame({"device_id": ["a"]})})
    refined = refine("batch", reference)
    assert [("batch", reference, own.contracts)] == importlib.import_module("our_transform").CALLED
    assert refined.looked_up == {"postgres:devices": reference.digests["devices"]}  # it may be any of it
    assert own.transformation().name == own.name


def test_delays_grow() -> None:
    retry = pipeline("experiments").retry
    assert retry.delays == [1.0, 2.0, 4.0]


def test_the_document_shows_a_folder_that_works(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    pipeline, _, tables = re.findall(
        r"```yaml\n(.*?)```", text, re.S
    )  # the second: transform/test_reading_rules.py
    (said,) = re.findall(r"`(\{.*\})` is a row", text)
    path = written(tmp_path / "power" / "pipeline.yaml", pipeline)
    found = catalogs.read(tmp_path).pipeline("power")
    batch = replace(a_batch(("power/cellar", said.encode())), dataset=found.source.dataset)
    refined = found.refine()(batch, Reference(frames={}))
    assert refined.accepted["power"].select("meter", "at", "watts").rows() == [
        ("m1", datetime(2026, 11, 20, 8, tzinfo=UTC), 40.5)
    ]
    alone = yaml.safe_load(pipeline)
    table = alone.pop("table")
    written(path, yaml.safe_dump(alone) + tables)
    written(path.parent / "tables" / f"{table.pop('name')}.yaml", table)
    assert catalogs.read(tmp_path).pipeline("power").contracts == found.contracts


ALONE = {
    "doc": "Meters.",
    "owner": "me",
    "source": {"type": "mqtt", "topic": "power/#"},
    "table": {"name": "power", "about": {"kind": "device", "column": "meter"}, **TABLE}
    | {"key": ["meter", "at"], "columns": {"meter": {"type": "text"}, **TABLE["columns"]}},  # type: ignore[dict-item]
}


def test_one_file_is_a_pipeline_with_its_table(tmp_path: Path) -> None:
    written(tmp_path / "meters" / "pipeline.yaml", ALONE)
    found = catalogs.read(tmp_path)
    alone = found.pipeline("meters")
    assert (alone.source_name, alone.transform) == ("meters", "readings")
    assert alone.contracts == {"power": found.contracts["power"]}
    assert alone.load_plan(
        Run(id=uuid4(), kind="listener", name="", started_at=datetime.now(UTC))
    ).subjects == {"power": ("device", "meter")}
    own = written(tmp_path / "apart" / "tables" / "power.yaml", ALONE["table"])
    text = yaml.safe_load(own.read_text())
    written(own, {name: said for name, said in text.items() if name not in ("name", "about")})
    (broken,) = catalog.read_directories((tmp_path,)).broken
    assert broken.path == tmp_path / "meters" / "pipeline.yaml"
    assert f"there is a table power already, in {own}: rename one of them." in broken.why
    (tmp_path / "meters" / "pipeline.yaml").unlink()
    assert catalogs.read(tmp_path).contracts["power"] == alone.contracts["power"]


def test_a_function_of_ones_own_may_make_every_column(tmp_path: Path) -> None:
    made = {"type": "text", "derived": True, "required": True}
    columns = {"meter": made, "at": {**made, "type": "timestamp"}}
    table = {"name": "power", "key": ["meter", "at"], "time": "at", "columns": columns}
    path = written(
        tmp_path / "meters" / "pipeline.yaml", {**ALONE, "table": table, "transform": "own:refine"}
    )
    assert catalogs.read(tmp_path).contracts["power"].recorded == ()
    written(path, {**ALONE, "table": table})
    assert "power: no column is read from the record" in catalogs.why_not(tmp_path)


def test_a_derived_table_is_made_of_a_table_inside_a_pipeline(tmp_path: Path) -> None:
    written(tmp_path / "meters" / "pipeline.yaml", ALONE)
    hours = {"key": ["meter", "hour"], "time": "hour", "on_return": "recompute", "made_from": ["power"]}
    columns = {"meter": {"type": "text", "required": True}, "hour": {"type": "timestamp", "required": True}}
    written(tmp_path / "meters" / "derived" / "power_hourly.yaml", hours | {"columns": columns})
    written(tmp_path / "meters" / "derived" / "power_hourly.sql", "SELECT meter, $1 AS hour FROM power")
    assert catalogs.read(tmp_path).derived["power_hourly"].contract.derived == ("meter", "hour")


def test_a_pipeline_holds_no_derived_table(tmp_path: Path) -> None:
    derived = {**ALONE, "table": {"name": "power", **TABLE, "on_return": "recompute"}}
    written(tmp_path / "meters" / "pipeline.yaml", derived)
    assert why_not(tmp_path) == "a table with `on_return: recompute` is derived: put it into `derived/`."
    assert catalog.read_directories((tmp_path,)).contracts == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"columns": {"at": {"type": "timestamp"}, "watts": {"type": "flaot"}}}, "did you mean float?"),
        (
            {"columns": {"at": {"type": "timestamp", "minimum": 1}}},
            "`minimum` is a rule of float, integer and decimal",
        ),
        ({"key": ["meter"]}, "meter is not one of its columns"),
        ({"name": "ledger"}, "ledger is a table of ours"),
        ({"kee": ["at"]}, "table.kee: Extra inputs are not permitted, did you mean key?"),
    ],
)
def test_what_is_wrong_with_a_table_inside_a_pipeline_has_its_line(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    written(tmp_path / "meters" / "pipeline.yaml", ALONE | {"table": {"name": "power", **TABLE, **change}})
    why = why_not(tmp_path)
    assert said in why
    assert why.startswith("line ")


def test_a_broken_module_of_a_transform_leaves_out_its_own_pipeline_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_transform.py").write_text("raise ValueError('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = copied(tmp_path) / "own"
    own.mkdir()
    table = {"name": "own", "key": ["at"], "time": "at", "columns": {"at": {"type": "timestamp"}}}
    said = {
        "doc": "d",
        "owner": "us",
        "source": FILES,
        "transform": "broken_transform:refine",
        "table": table,
    }
    written(own / "own.yaml", said)
    known = catalogs.read(tmp_path / "pipelines")
    assert known.broken == ()
    assert known.pipelines["sensors"].refine()
    with pytest.raises(ContractError, match="cannot be loaded: ValueError: no licence"):
        known.pipelines["own"].refine()
