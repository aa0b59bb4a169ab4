"""A table as people write it, in a file of its own or inside a pipeline; what it means is its `Contract`."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tasks.contract import (
    ColumnType,
    Contract,
    Exact,
    Frozen,
    Length,
    Metadata,
    Name,
    NullValue,
    Number,
    OnReturn,
    PartitionBy,
    Together,
    Twice,
    Value,
    Word,
)
from tasks.yaml_file import read_yaml

_OF_TIME: Final = ("partition_by", "oldest", "furthest")


def _form(said: object) -> str:
    return "beside" if isinstance(said, Mapping | Metadata) else "path" if isinstance(said, str) else "list"


From = Annotated[
    Annotated[str, Tag("path")]
    | Annotated[tuple[str, ...], Tag("list")]
    | Annotated[Metadata, Tag("beside")],
    Discriminator(_form),
]
"""Where a column is read: a path with dots, a list of names, or beside the record."""


class ColumnDefinition(Frozen):
    """One column. `derived`: the transform computes it, and it is never read."""

    type: ColumnType
    precision: Length | None = None  # of a decimal: its digits, 38 where it says nothing
    scale: Length | None = None  # of a decimal: how many of them are after the point
    unit: str | None = None
    from_: From | None = Field(
        default=None,
        alias="from",
        description="A path with dots, a list of names, {topic: …}, {received: time}, {key: text} …",
    )
    constant: Value | None = None  # it is this, and read from nothing
    zone: str | None = None  # IANA; of a time that names none
    twice: Twice | None = None  # which time of an hour that comes twice; unset: it is rejected
    null_values: tuple[NullValue, ...] | None = None  # that stand for a missing one
    map: Mapping[str, Value] | None = None  # what is read → what is meant; anything else is rejected
    from_unit: str | None = None  # what is read is in this, and is converted to `unit`
    was: Name | None = None  # what it was called before: the stored column is renamed
    minimum: Number | None = None  # inclusive
    maximum: Number | None = None  # inclusive
    min_length: Length | None = None  # characters
    max_length: Length | None = None  # characters
    one_of: tuple[Word, ...] | None = None  # no other value is taken
    regex: str | None = None  # that the whole text matches
    required: bool = False
    default: Exact | str | float | int | bool | None = None  # stored where a value is missing
    derived: bool = False
    doc: str = ""

    @model_validator(mode="after")
    def _required_has_no_default(self) -> Self:
        if self.required and self.default is not None:
            raise _wrong("it is required, so its default does nothing: leave one of the two out")
        return self

    def meant(self, name: str) -> Mapping[str, Any]:
        """The column of a contract that it is."""
        said = self.model_dump(exclude={"from_", "required"}, exclude_unset=True)
        if isinstance(self.from_, Metadata):
            said["metadata"] = self.from_
        elif self.from_ is not None:
            said["path"] = self.from_.split(".") if isinstance(self.from_, str) else self.from_
        if self.required or self.default is not None:
            said["missing"] = "reject" if self.required else "default"
        return {"name": name, **said}


class TableDefinition(Frozen):
    """A table and the rules of its records."""

    name: Name | None = None  # in a file of its own: the file's
    version: int = 1
    doc: str = ""
    key: tuple[Name, ...] = Field(min_length=1)  # the natural key; holds the time column
    time: Name | None = None  # the column that partitions the table; without it: a reference table
    on_return: OnReturn = OnReturn.APPEND
    partition_by: PartitionBy = PartitionBy.DAY
    columns: Mapping[Name, ColumnDefinition] = Field(min_length=1)
    together: tuple[Together, ...] = ()
    max_bytes: int = 1_048_576  # a longer message is rejected undecoded
    oldest: timedelta = timedelta(days=3653)  # what is older when it is received is rejected
    furthest: timedelta = timedelta(days=1)  # what is further in the future then is rejected

    @field_validator("columns", mode="before")
    @classmethod
    def _are_a_mapping(cls, said: object) -> object:
        if isinstance(said, list):
            raise _wrong("`columns` gives each name what the column is, without a dash: `name: {type: text}`")
        return said

    @model_validator(mode="after")
    def _without_time_says_nothing_of_it(self) -> Self:
        for word in _OF_TIME:
            if self.time is None and word in self.model_fields_set:
                raise _wrong(f"a table without `time` has no `{word}`: leave it out, or name its time")
        return self

    def contract(self, name: str) -> Contract:
        """What it means; `name` where it says none. Raises pydantic's ValidationError."""
        said = self.model_dump(include=Contract.model_fields.keys() - {"columns"}, exclude_unset=True)
        columns = [column.meant(each) for each, column in self.columns.items()]
        return Contract.model_validate({**said, "table": self.name or name, "columns": columns})


def _wrong(said: str) -> PydanticCustomError:
    return PydanticCustomError("contract", "{said}", {"said": said})


def read_table(path: Path) -> Contract:
    """The contract of a table's file; raises ContractError with what is wrong, and where in it."""
    return read_yaml(path, TableDefinition, lambda table: table.contract(path.stem))
