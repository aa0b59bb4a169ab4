"""Every field that a person may write in a file of a folder has its row in a table of the docs."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from flows.catalog.definition import Definition, Table
from tasks.extract.files import FileOptions
from tasks.extract.kafka import KafkaOptions
from tasks.extract.mqtt import MqttOptions
from tasks.extract.opentrons import RobotOptions
from tasks.table_definition import ColumnDefinition, TableDefinition

DOCS = Path(__file__).parents[2] / "docs"
TABLES = {
    "of a pipeline": ("pipelines.md", Definition, set[str]()),
    "of a table in it": ("pipelines.md", Table, {"name"}),
    "of a contract": ("contracts.md", TableDefinition, {"doc"}),
    "of a column": ("contracts.md", ColumnDefinition, set[str]()),
    "of `mqtt`": ("sources.md", MqttOptions, {"type"}),
    "of `kafka`": ("sources.md", KafkaOptions, {"type"}),
    "of `files`": ("sources.md", FileOptions, {"type"}),
    "of `opentrons`": ("sources.md", RobotOptions, {"type", "connection"}),
}


def _documented(page: str, head: str) -> set[str]:
    """The names in the first column of the table that begins so."""
    text = (DOCS / page).read_text(encoding="utf-8")
    table = text.partition(f"| {head} |")[2].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}


@pytest.mark.parametrize("head", TABLES)
def test_every_field_has_its_row(head: str) -> None:
    page, model, elsewhere = TABLES[head]
    assert issubclass(model, BaseModel)
    fields = {field.alias or name for name, field in model.model_fields.items()}
    assert _documented(page, head) == fields - elsewhere
