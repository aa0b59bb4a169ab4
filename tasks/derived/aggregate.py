"""Derived tables: tables whose buckets are computed from the rows of other tables by one SELECT.

To add one: a contract in `derived/` of a pipeline folder (`on_return: recompute`, and `made_from`), and its
SELECT beside it, in a file of the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from lineage.bucket import Bucket
from lineage.columns import ColumnEdge
from lineage.errors import ContractError
from lineage.model import Transformation
from lineage.version import transformation_of
from tasks.contract import Contract, Name, OnReturn, PartitionBy
from tasks.our_code import DECIDES_NOTHING
from tasks.table_definition import TableDefinition
from tasks.yaml_file import read_yaml

OURS: Final = ("tasks",)
"""The packages whose code is part of its version."""


class DerivedDefinition(TableDefinition):
    """A table whose columns are all computed from other tables; the one that it is about comes first."""

    made_from: tuple[Name, ...] = Field(min_length=1)
    bucket: Bucket = Bucket.HOUR  # by what it is made again, in UTC: $1 and $2 of its SELECT

    @model_validator(mode="after")
    def _months_are_partitions(self) -> Self:
        said_day = "partition_by" in self.model_fields_set and self.partition_by is PartitionBy.DAY
        if self.bucket is Bucket.MONTH and said_day:
            said = "a table that is made by the month has a partition a month: leave `partition_by` out"
            raise PydanticCustomError("contract", "{said}", {"said": said})
        return self

    def contract(self, name: str) -> Contract:
        columns = {each: column.model_copy(update={"derived": True}) for each, column in self.columns.items()}
        said = self.model_dump(exclude={"made_from", "columns", "bucket"}, exclude_unset=True)
        if self.bucket is Bucket.MONTH:
            said["partition_by"] = PartitionBy.MONTH
        contract = TableDefinition(**said, columns=columns).contract(name)
        # What is stored of the contract of a table that is made by the hour stays what it was.
        return contract.model_copy(update={"bucket": None if self.bucket is Bucket.HOUR else self.bucket})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A derived table as its files say it, before it is known whether what it is made from is there."""

    contract: Contract
    made_from: tuple[str, ...]
    sql: str

    def made(self, tables: Mapping[str, Contract]) -> "Aggregate":
        """It, of some of the tables; raises ContractError where it cannot be made from them."""
        for table in self.made_from:
            self._refuse(table, tables)
        return Aggregate(
            contract=self.contract, made_from={name: tables[name] for name in self.made_from}, sql=self.sql
        )

    def _refuse(self, table: str, tables: Mapping[str, Contract]) -> None:
        if table not in tables:
            raise ContractError(
                f"it is made from {table}, and there is no such table, or its contract is broken: name those "
                "there are."
            )
        source = tables[table]
        if source.is_reference:
            raise ContractError(
                f"it is made from {table}, which has no `time`, and so no buckets to be made again: look its "
                "values up by the step `lookup` where the records are read."
            )
        if source.on_return is OnReturn.RECOMPUTE and not self.contract.made_by.holds(source.made_by):
            raise ContractError(
                f"its bucket is `{self.contract.made_by}`, and that of {table} `{source.made_by}`: it must "
                "be as long, or longer."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One derived table: what its rows are, from which tables, and how a bucket of it is computed."""

    contract: Contract
    made_from: Mapping[str, Contract]  # table → its contract, the one that it is about first
    sql: str  # one SELECT of the contract's columns; $1 the start of the bucket, $2 its end (exclusive)

    def __post_init__(self) -> None:
        if self.contract.on_return is not OnReturn.RECOMPUTE:
            raise ContractError(f"{self.table} is an aggregate: its contract must say on_return: recompute.")

    @property
    def table(self) -> str:
        return self.contract.table

    @property
    def bucket(self) -> Bucket:
        """By what it is made again; `ledger_outputs.bucket` is the start of one."""
        return self.contract.made_by

    @property
    def sources(self) -> tuple[str, ...]:
        """The tables whose changes it is told of."""
        return tuple(self.made_from)

    def columns(self) -> tuple[ColumnEdge, ...]:
        """What each column comes from, as the SQL says."""
        from tasks.derived.sql_columns import columns_of  # sqlglot is slow to load, and a listener needs none

        tables = {
            table: {column.name: column.postgres_type for column in contract.columns}
            for table, contract in self.made_from.items()
        }
        return columns_of(self.sql, tables)

    def transformation(self) -> Transformation:
        """The SQL and the contract are what makes the values, so they are its version."""
        parameters = {"sql": self.sql, "contract": self.contract.model_dump(mode="json")}
        return transformation_of(
            read_draft, name=self.table, within=OURS, without=DECIDES_NOTHING, parameters=parameters
        )


def read_draft(path: Path) -> Draft:
    """The contract of a derived table, whose SELECT stands beside it; or ContractError."""
    made_from, contract = read_yaml(
        path, DerivedDefinition, lambda table: (table.made_from, table.contract(path.stem))
    )
    if contract.table != path.stem:
        raise ContractError(f"it is the contract of {contract.table}: call the file {contract.table}.yaml.")
    return Draft(contract=contract, made_from=made_from, sql=_statement(path.with_suffix(".sql")))


def _statement(path: Path) -> str:
    """The statement of a file without its comment lines, which change nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"its SELECT in {path.name} cannot be read: {error}") from error
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))
