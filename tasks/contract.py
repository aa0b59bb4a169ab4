"""The contract of a dataset: columns, units, ranges, keys and time limits (`table_definition.py` reads it).

A rule is one line. The contract decides what is accepted; the table it names is created from the same lines.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

import polars as pl
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lineage.bucket import Bucket
from lineage.model import micros
from tasks.contract_rules import Problem, problems_of_column, problems_of_contract
from tasks.exact_numbers import MOST, numbers_of
from tasks.types.kinds import TYPES
from tasks.types.timestamp import UTC_MICROS as UTC_MICROS
from tasks.types.type import Type
from tasks.units import conversion

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Length = Annotated[int, Field(strict=True)]
Exact = Annotated[InstanceOf[Decimal], WithJsonSchema({"type": "number"})]
"""A number whose digits all count: of a `decimal`, or one that no double is (`yaml_file.py`)."""
Double = Annotated[float, Field(strict=True)]


def _as_kept(value: object, info: SerializationInfo) -> object:
    """A limit as JSON keeps it: a double as a number, a decimal as its text."""
    return format(value, "f") if isinstance(value, Decimal) and info.mode_is_json() else value


Limit = Annotated[Double | Exact, PlainSerializer(_as_kept)]
"""`minimum` or `maximum`."""


def _is_number(said: object) -> object:
    if isinstance(said, bool) or not isinstance(said, int | float | Decimal):
        raise PydanticCustomError("float_type", "Input should be a valid number")
    return said


Number = Annotated[
    Exact | Length | Double,
    Field(union_mode="left_to_right"),
    BeforeValidator(_is_number),
    WithJsonSchema({"type": "number"}),
]
"""A number as YAML writes it; what it is to its column `exact_numbers.py` says."""
Word = Annotated[str, Field(strict=True)] | Number
"""One of the values that a column takes: text, or a number."""
NullValue = str | Number
"""What stands for a missing value: a word, or in a column of numbers or times a number."""
Value = str | Annotated[bool, Field(strict=True)] | Number
"""A value as YAML writes it."""

_LATER: Final = (
    *("one_of", "regex"),
    *("metadata", "constant", "zone", "twice", "null_values", "map", "set", "precision", "scale"),
    *("from_unit", "conversion"),
)
_STORED: Final = "stored"
"""The context of a contract that Postgres keeps: its table stands, whatever the rules of today say of it."""


class ColumnType(StrEnum):
    """What a type is: `tasks/types/`."""

    TEXT = "text"
    FLOAT = "float"
    INTEGER = "integer"
    DECIMAL = "decimal"
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
    RECOMPUTE = "recompute"  # a derived table: the rows of a bucket are replaced as a whole


class Twice(StrEnum):
    """Which one is meant of the times of an hour that comes twice, when clocks are put back."""

    FIRST = "first"
    SECOND = "second"
    REJECT = "reject"


class PartitionBy(StrEnum):
    DAY = "day"
    MONTH = "month"


def _refuse(problems: Iterable[Problem]) -> None:
    """Raise the first problem, with its place for whoever knows the file."""
    for place, said in problems:
        raise PydanticCustomError("contract", "{said}", {"said": said, "place": place})


def _without_unused(said: Mapping[str, Any], later: Collection[str]) -> dict[str, Any]:
    """Without rules that came later and are not used: what is stored of a contract stays what it was."""
    return {name: value for name, value in said.items() if value is not None or name not in later}


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metadata(Frozen):
    """What comes beside a record: a part of its topic or path, when it came, and what Kafka keeps with it."""

    topic: Name | None = None
    file: Name | None = None
    received: Literal["time"] | None = None  # by us
    key: Literal["text"] | None = None  # the whole of it
    header: Annotated[str, Field(min_length=1)] | None = None  # the last one of that name
    sent: Literal["time"] | None = None  # by its producer, or the broker's clock

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self._said()) != 1:
            said = "say one of these: {topic: NAME}, {file: NAME}, {received: time}, {key: text}, "
            said += "{header: NAME} or {sent: time}"
            raise PydanticCustomError("contract", "{said}", {"said": said})
        return self

    @model_serializer(mode="wrap")
    def _as_it_was(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_unused(whole(self), ("received", "key", "header", "sent"))

    def _said(self) -> Sequence[str]:
        return [kind for kind in type(self).model_fields if getattr(self, kind) is not None]

    @property
    def kind(self) -> str:
        return self._said()[0]

    @property
    def name(self) -> str:
        return str(getattr(self, self.kind))

    @property
    def is_of_envelope(self) -> bool:
        """Whether it is one of those that Kafka keeps with a message."""
        return self.kind in ("key", "header", "sent")


class Column(Frozen):
    """One column. `derived` columns are computed by the transform and never read from the input."""

    name: Name
    type: ColumnType
    precision: Length | None = None  # of a decimal: digits, unset: as many as there can be
    scale: Length | None = None  # of a decimal: how many of them are after the point
    unit: str | None = None
    path: tuple[str, ...] | None = None  # where it stands in the record, default: (name,)
    metadata: Metadata | None = None  # it is read from beside the record
    constant: Value | None = None  # it is this, and read from nothing
    zone: str | None = None  # IANA; of a time that names none
    twice: Twice | None = None  # unset: reject
    null_values: tuple[NullValue, ...] | None = None  # that stand for a missing one
    map: Mapping[str, Value] | None = None  # what is read → what is meant; anything else is rejected
    from_unit: str | None = None  # what is read is in this, and converted to `unit`
    conversion: tuple[Double, Double, Double] | None = None  # by which it is: `units.conversion`, kept
    was: Name | None = None  # what it was called before: the stored column is renamed (`tables/rename.py`)
    minimum: Limit | None = None  # inclusive
    maximum: Limit | None = None  # inclusive
    min_length: Length | None = None  # characters
    max_length: Length | None = None  # characters
    one_of: tuple[Word, ...] | None = None
    regex: str | None = None  # that the whole text matches, as Rust's regex crate reads it
    missing: Missing = Missing.NULL
    default: Exact | str | float | int | bool | None = None
    derived: bool = False
    set: bool | None = None  # a step of the pipeline sets it, and it is never read
    doc: str = ""

    @model_validator(mode="before")
    @classmethod
    def _takes_its_numbers(cls, said: object) -> object:
        return numbers_of(said) if isinstance(said, Mapping) else said

    @model_validator(mode="after")
    def _keeps_the_rules(self, info: ValidationInfo) -> Self:
        if info.context != _STORED:
            _refuse(problems_of_column(self))
            if self.from_unit is not None and self.unit is not None:
                object.__setattr__(self, "conversion", conversion(self.from_unit, self.unit))
        return self

    @model_serializer(mode="wrap")
    def _as_it_was(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_unused(whole(self), _LATER)

    @property
    def required(self) -> bool:
        return self.missing is Missing.REJECT

    @property
    def digits(self) -> tuple[int, int]:
        """Of a decimal: how many digits it has, and how many of them are after the point."""
        return MOST if self.precision is None else self.precision, self.scale or 0

    @property
    def kind(self) -> Type:
        return TYPES[self.type]

    @property
    def polars_type(self) -> pl.DataType:
        """What a value is in a frame."""
        return self.kind.polars(self.digits)

    @property
    def postgres_type(self) -> str:
        """What a value is in Postgres."""
        return self.kind.postgres(self.digits)

    @property
    def is_arrival(self) -> bool:
        """Whether it is when the record came, which says nothing of the record itself."""
        return self.metadata is not None and self.metadata.received is not None

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
    time: Name | None = None  # the column that partitions the table; None: it is a reference table
    on_return: OnReturn = OnReturn.APPEND
    partition_by: PartitionBy = PartitionBy.DAY
    together: tuple[Together, ...] = ()
    max_bytes: int = 1_048_576  # a longer message is rejected undecoded
    oldest: timedelta = timedelta(days=3653)  # older than this before received_at is rejected
    furthest: timedelta = timedelta(days=1)  # further than this after received_at is rejected
    bucket: Bucket | None = None  # of a derived table: by what it is made again; None: by the hour

    @model_serializer(mode="wrap")
    def _as_it_was(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_unused(whole(self), ("bucket",))

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

    def with_set(self, names: Collection[str]) -> Self:
        """As of a pipeline whose steps set these columns; raises ValidationError where one is read too."""
        if not names:
            return self
        said = self.model_dump(mode="json")
        for column in said["columns"]:
            if column["name"] in names:
                column["set"] = True
        return type(self).model_validate(said)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def is_reference(self) -> bool:
        """Whether it has no time: it is kept whole, and other records look things up in it."""
        return self.time is None

    @property
    def time_column(self) -> str:
        """Its `time`, asked of tables that have one."""
        assert self.time is not None, f"{self.table} has no time"  # noqa: S101 - whoever asks has looked
        return self.time

    @property
    def made_by(self) -> Bucket:
        """By which bucket it is made again, asked of derived tables."""
        return self.bucket or Bucket.HOUR

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns read from the input, in order."""
        return tuple(column for column in self.columns if not (column.derived or column.set))

    @property
    def recorded(self) -> tuple[Column, ...]:
        """The inputs that stand in a record itself, in order."""
        return tuple(c for c in self.inputs if c.metadata is None and c.constant is None)

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
        return pl.Schema({column.name: column.polars_type for column in self.columns})


def time_literal(moment: datetime) -> pl.Expr:
    """A time (UTC_MICROS) as a literal. Polars takes 200 µs to build one from a datetime, this way 7."""
    return pl.lit(micros(moment)).cast(UTC_MICROS)
