"""The contract of a dataset: columns, units, ranges, keys and time limits, read from one YAML file.

A rule is one line. The contract decides what is accepted; the table it names is created from the same lines.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lineage.errors import ContractError
from lineage.model import micros

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class ColumnType(StrEnum):
    TEXT = "text"
    FLOAT = "float"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    JSON = "json"


class Missing(StrEnum):
    """What to do with a missing value."""

    REJECT = "reject"  # the record is rejected: the column is required
    NULL = "null"  # store a null
    DEFAULT = "default"  # store the column's `default`


class OnReturn(StrEnum):
    """What a key that returns with other values means, or that the table is computed from another."""

    APPEND = "append"  # a conflict: the newcomer is rejected
    REVISE = "revise"  # a newer observation: it replaces, and the older goes to history
    RECOMPUTE = "recompute"  # an aggregate: the rows of an hour are replaced as a whole


class PartitionBy(StrEnum):
    DAY = "day"
    MONTH = "month"


UTC_MICROS = pl.Datetime("us", "UTC")
POLARS_TYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.TEXT: pl.String(),
    ColumnType.FLOAT: pl.Float64(),
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.BOOLEAN: pl.Boolean(),
    ColumnType.TIMESTAMP: UTC_MICROS,
    ColumnType.JSON: pl.String(),
}
POSTGRES_TYPES: dict[ColumnType, str] = {
    ColumnType.TEXT: "text",
    ColumnType.FLOAT: "double precision",
    ColumnType.INTEGER: "bigint",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TIMESTAMP: "timestamptz",
    ColumnType.JSON: "json",  # not jsonb: the text as received, so that its row hash can be computed again
}


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Frozen):
    """One column. `derived` columns are computed by the transform and never read from the input."""

    name: Name
    type: ColumnType
    unit: str | None = None
    path: tuple[str, ...] | None = None  # where it stands in the input, default: (name,)
    was: Name | None = None  # what it was called before: the stored column is renamed (`load/rename.py`)
    minimum: float | None = None  # inclusive
    maximum: float | None = None  # inclusive
    min_length: int | None = None  # characters
    max_length: int | None = None  # characters
    missing: Missing = Missing.NULL
    default: str | float | int | bool | None = None
    derived: bool = False
    doc: str = ""

    @model_validator(mode="after")
    def _default_is_used(self) -> Self:
        if (self.missing is Missing.DEFAULT) != (self.default is not None):
            raise ValueError(f"{self.name}: `missing: default` and a `default` go together")
        return self

    @property
    def required(self) -> bool:
        return self.missing is Missing.REJECT

    @property
    def source_path(self) -> tuple[str, ...]:
        """The names that lead to its value in a decoded record, outermost first."""
        return self.path or (self.name,)


class Together(Frozen):
    """Columns that are given together or not at all; the rule is `name.incomplete`."""

    name: Name
    columns: tuple[Name, ...]


class Contract(Frozen):
    """The typed schema of a stored dataset and the rules of its records."""

    table: Name
    version: int = 1
    doc: str = ""
    columns: tuple[Column, ...]
    key: tuple[Name, ...]  # the natural key; holds the time column
    time: Name  # the column that partitions the table
    on_return: OnReturn = OnReturn.APPEND
    partition_by: PartitionBy = PartitionBy.DAY
    together: tuple[Together, ...] = ()
    max_bytes: int = 1_048_576  # a longer message is rejected undecoded
    oldest: timedelta = timedelta(days=3653)  # older than this before received_at is rejected
    furthest: timedelta = timedelta(days=1)  # further than this after received_at is rejected

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.table}: a column is named twice")
        grouped = [name for group in self.together for name in group.columns]
        for name in (*self.key, self.time, *grouped):
            if name not in names:
                raise ValueError(f"{self.table}: {name} is not one of its columns")
        for column in self.columns:
            if column.was and (column.was in names or column.name in self.key):
                raise ValueError(f"{self.table}: {column.name}, was {column.was}: that is a key or a column")
        if self.time not in self.key:
            raise ValueError(f"{self.table}: the key must hold the time column {self.time}")
        return self

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns read from the input, in order."""
        return tuple(column for column in self.columns if not column.derived)

    @property
    def derived(self) -> tuple[str, ...]:
        """The names of the columns that the transform computes, in order."""
        return tuple(column.name for column in self.columns if column.derived)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def row_schema(self) -> pl.Schema:
        """The Polars schema of the accepted rows, without their origin."""
        return pl.Schema({column.name: POLARS_TYPES[column.type] for column in self.columns})


def time_literal(moment: datetime) -> pl.Expr:
    """A time (UTC_MICROS) as a literal. Polars takes 200 µs to build one from a datetime, this way 7."""
    return pl.lit(micros(moment)).cast(UTC_MICROS)


def load_contract(path: Path) -> Contract:
    """Read a contract from YAML; raises ContractError with the file and what is wrong."""
    return read_yaml(path, Contract)


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """A model from its YAML file; raises ContractError, one sentence with the file and all that is wrong."""
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        wholes = {each["loc"][:length] for each in problems for length in range(len(each["loc"]))}
        why = "; ".join(
            _told(each["loc"], each["type"], each["msg"], model)
            for each in problems
            if each["loc"] not in wholes  # that a list is too short is because its parts are wrong
        )
        cause: Exception = error
    except (OSError, ValueError, yaml.YAMLError) as error:
        why, cause = " ".join(str(error).split()), error
    raise ContractError(f"{path.name} is not a {model.__name__.lower()}: {why}") from cause


def _told(place: Sequence[str | int], kind: str, message: str, model: type[BaseModel]) -> str:
    """One problem: where, what, and for a name that is unknown the nearest one that may stand there."""
    said = message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        nearest = get_close_matches(str(place[-1]), _names_at(model.model_json_schema(), place[:-1]), n=1)
        said += f", did you mean {nearest[0]}?" if nearest else ""
    where = ".".join(map(str, place))
    return f"{where}: {said}" if where else said


def _names_at(schema: Mapping[str, Any], place: Sequence[str | int]) -> Sequence[str]:
    """The fields of the model at a place of pydantic's, whose union is followed by the kind's name."""
    node = schema
    for step in place:
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][step]}
        else:
            node = node["items"] if isinstance(step, int) else node["properties"][step]
        node = next((each for each in node.get("anyOf", ()) if "$ref" in each), node)  # it may be null
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return list(node["properties"])
