"""The catalog of pipelines, and the schema that editors check it with."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from flows.catalog import PIPELINES, Pipeline, load_pipeline, pipeline, pipelines
from lineage.errors import ContractError, NotFoundError
from tasks.batch import Reference
from tasks.contract import load_contract

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "pipeline.schema.json"

FILES = {"type": "files", "folder": "x", "pattern": "*"}


def schema() -> str:
    return json.dumps(Pipeline.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def test_the_published_schema_is_the_models() -> None:
    write = 'python -c "from tests.unit.test_catalog import *; SCHEMA.write_text(schema())"'
    assert SCHEMA.read_text(encoding="utf-8") == schema(), f"write it again: {write}"


def test_every_file_is_a_pipeline_of_its_own_name() -> None:
    assert {path.stem for path in PIPELINES.glob("*.yaml")} == set(pipelines())
    for each in pipelines().values():
        assert each.transformation().version
        assert {table.name for table in each.tables} == set(each.contracts())


def test_a_transformations_version_follows_its_contract() -> None:
    before = pipeline("sensors")
    text = yaml.safe_load((PIPELINES / "sensors.yaml").read_text())
    renamed = Pipeline.model_validate(text | {"source_name": "another"})
    assert renamed.transformation().version != before.transformation().version
    assert pipeline("sensors").transformation() == before.transformation()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": {"type": "telepathy"}}, "telepathy"),
        ({"tables": []}, "tables"),
        ({"sauce": 1}, "sauce"),
        ({"retry": {"times": -1}}, "times"),
        (
            {"source": {"type": "files", "folder": "x", "patern": "*", "archive": "y"}},
            "source.files.pattern: Field required; "
            "line 7, column 3: source.files.patern: Extra inputs are not permitted, did you mean pattern?",
        ),
        (
            {"tables": [{"name": "sensor_readings", "abuot": {}}]},
            "tables.0.abuot: Extra inputs are not permitted, did you mean about?",
        ),
        (
            {"tables": [{"name": "x", "about": {"kind": "device", "column": "device_id", "colum": "x"}}]},
            "tables.0.about.colum: Extra inputs are not permitted, did you mean column?",
        ),
        ({"source": FILES}, "source.files: archive is missing: say where a file goes once it is read, or"),
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
        ({"ownr": "me"}, "line 4, column 1: ownr: Extra inputs are not permitted, did you mean owner?"),
        ({"zzzz": 1}, "zzzz: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, change: dict[str, object], said: str) -> None:
    text = yaml.safe_load((PIPELINES / "sensors.yaml").read_text())
    path = tmp_path / "sensors.yaml"
    path.write_text(yaml.safe_dump(text | change))
    with pytest.raises(ContractError) as caught:
        load_pipeline(path)
    sentence = str(caught.value)
    assert sentence.endswith(said) if "did you mean" in said else said in sentence
    assert sentence.startswith("sensors.yaml is not a pipeline: ")
    assert "\n" not in sentence
    assert "pydantic" not in sentence


@pytest.mark.parametrize("text", ["a: [", "", "- 1"])
def test_what_is_no_mapping_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(text)
    for read, what in ((load_pipeline, "a pipeline"), (load_contract, "a contract")):
        with pytest.raises(ContractError, match=f"^power.yaml is not {what}: ") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_wrong_contract_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "power.yaml"
    path.write_text(
        "{table: power, key: [a], time: a, columns: [{name: a, type: timestamp, requird: 1, minmum: 0}]}"
    )
    with pytest.raises(ContractError) as caught:
        load_contract(path)
    assert str(caught.value) == (
        "power.yaml is not a contract: line 1, column 72: columns.0.requird: Extra inputs are not permitted; "
        "line 1, column 84: columns.0.minmum: Extra inputs are not permitted, did you mean minimum?"
    )
    path.write_text("{table: power, key: [a], time: a, columns: [{name: b, type: timestamp}]}")
    with pytest.raises(
        ContractError, match=r"^power.yaml is not a contract: power: a is not one of its columns$"
    ):
        load_contract(path)


def test_columns_of_files_lead_to_columns_of_a_table(tmp_path: Path) -> None:
    text = yaml.safe_load((PIPELINES / "sensors-files.yaml").read_text())
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "sources.md").read_text(encoding="utf-8"), re.S)
    assert block
    columns = yaml.safe_load(block[1])["source"]["columns"]
    path = tmp_path / "sensors-files.yaml"

    def load(columns: dict[str, str]) -> Any:
        path.write_text(yaml.safe_dump(text | {"source": text["source"] | {"columns": columns}}))
        return load_pipeline(path).source

    assert load(columns).columns == columns
    for theirs, ours in (("device_id", "Sensor"), ("dew", "dew_point")):  # the wrong way round; derived
        with pytest.raises(ContractError) as caught:
            load({theirs: ours})
        assert str(caught.value) == (
            f"Pipeline sensors-files: columns says that {theirs} is {ours}, which no table reads: "
            "write `file's name: table's name`, of "
            "device_id, humidity, latitude, longitude, pressure, temperature, timestamp."
        )


def test_a_cap_on_what_is_no_stream_is_refused(tmp_path: Path) -> None:
    text = yaml.safe_load((PIPELINES / "experiments.yaml").read_text())
    path = tmp_path / "experiments.yaml"
    path.write_text(yaml.safe_dump(text | {"max_per_second": 10}))
    with pytest.raises(ContractError) as caught:
        load_pipeline(path)
    said = "Pipeline experiments is no stream, so max_per_second does nothing: leave it out."
    assert str(caught.value) == said


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(NotFoundError, match="experiments, sensors"):
        pipeline("sensor")
    text = yaml.safe_load((PIPELINES / "sensors.yaml").read_text())
    with pytest.raises(ContractError, match="choose from readings, experiments"):
        Pipeline.model_validate(text | {"transform": "reading"}).refine()
    with pytest.raises(ContractError, match="cannot be loaded"):
        Pipeline.model_validate(text | {"transform": "nowhere:refine"}).refine()


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
    text = yaml.safe_load((PIPELINES / "sensors.yaml").read_text())
    own = Pipeline.model_validate(text | {"transform": "our_transform:refine"})
    refine: Any = own.refine()
    reference = Reference(frames={"devices": pl.DataFrame({"device_id": ["a"]})})
    refined = refine("batch", reference)
    assert [("batch", reference, own.contracts())] == importlib.import_module("our_transform").CALLED
    assert refined.looked_up == {"postgres:devices": reference.digests["devices"]}  # it may be any of it
    assert own.transformation().name == "our_transform:refine"


def test_delays_grow() -> None:
    retry = pipeline("experiments").retry
    assert retry.delays == [1.0, 2.0, 4.0]
