"""The contract of a dataset: columns, units, ranges, keys and time limits, read from one YAML file.

A rule is one line. The contract decides what is accepted; the table it names is created from the same lines.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lineage.model import micros
from tasks.contract_rules import Problem, problems_of_column, problems_of_contract
from tasks.yaml_file import read_yaml

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Number = Annotated[float, Field(strict=True)]
Length = Annotated[int, Field(strict=True)]

_STORED: Final = "stored"
"""The context of a contract that Postgres keeps: its table stands, whatever the rules of today say of it."""


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


def _refuse(problems: Iterable[Problem]) -> None:
    """Raise the first problem, with its place for whoever knows the file."""
    for place, said in problems:
        raise PydanticCustomError("contract", "{said}", {"said": said, "place": place})


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Frozen):
    """One column. `derived` columns are computed by the transform and never read from the input."""

    name: Name
    type: ColumnType
    unit: str | None = None
    path: tuple[str, ...] | None = None  # where it stands in the input, default: (name,)
    minimum: Number | None = None  # inclusive
    maximum: Number | None = None  # inclusive
    min_length: Length | None = None  # characters
    max_length: Length | None = None  # characters
    missing: Missing = Missing.NULL
    default: str | float | int | bool | None = None
    derived: bool = False
    doc: str = ""

    @field_validator("missing", mode="before")
    @classmethod
    def _null_is_a_word(cls, value: object) -> object:
        """`missing: null`: YAML says nothing where we say a word."""
        return Missing.NULL if value is None else value

    @model_validator(mode="after")
    def _keeps_the_rules(self, info: ValidationInfo) -> Self:
        if info.context != _STORED:
            _refuse(problems_of_column(self))
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
    columns: tuple[Column, ...] = Field(min_length=1)
    key: tuple[Name, ...] = Field(min_length=1)  # the natural key; holds the time column
    time: Name  # the column that partitions the table
    on_return: OnReturn = OnReturn.APPEND
    partition_by: PartitionBy = PartitionBy.DAY
    together: tuple[Together, ...] = ()
    max_bytes: int = 1_048_576  # a longer message is rejected undecoded
    oldest: timedelta = timedelta(days=3653)  # older than this before received_at is rejected
    furthest: timedelta = timedelta(days=1)  # further than this after received_at is rejected

    @model_validator(mode="after")
    def _keeps_the_rules(self, info: ValidationInfo) -> Self:
        if info.context != _STORED:
            object.__setattr__(self, "columns", tuple(map(self._required_in_key, self.columns)))
            _refuse(problems_of_contract(self))
        return self

    def _required_in_key(self, column: Column) -> Column:
        """A column of the key is required by being there, unless the transform makes it."""
        if column.name not in self.key or column.derived or "missing" in column.model_fields_set:
            return column
        return column.model_copy(update={"missing": Missing.REJECT})

    @classmethod
    def stored(cls, text: str) -> Self:
        """A contract as Postgres keeps it (JSON), by whatever rules it was read."""
        return cls.model_validate_json(text, context=_STORED)

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
