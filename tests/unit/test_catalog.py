"""The catalog of pipelines, and the schema that editors check it with."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.catalog import PIPELINES, Pipeline, load_pipeline, pipeline, pipelines
from lineage.errors import ContractError, NotFoundError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "pipeline.schema.json"


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
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, change: dict[str, object], said: str) -> None:
    text = yaml.safe_load((PIPELINES / "sensors.yaml").read_text())
    path = tmp_path / "sensors.yaml"
    path.write_text(yaml.safe_dump(text | change))
    with pytest.raises(ContractError, match=said) as caught:
        load_pipeline(path)
    assert "sensors.yaml" in str(caught.value)


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
        "def refine(batch, reference, contracts):\n    return batch, reference, contracts\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = yaml.safe_load((PIPELINES / "sensors.yaml").read_text())
    own = Pipeline.model_validate(text | {"transform": "our_transform:refine"})
    refine: Any = own.refine()
    assert refine("batch", "reference") == ("batch", "reference", own.contracts())
    assert own.transformation().name == "our_transform:refine"


def test_delays_grow() -> None:
    retry = pipeline("experiments").retry
    assert retry.delays == [1.0, 2.0, 4.0]
