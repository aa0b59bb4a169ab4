"""Aggregates: tables whose hours are computed from the rows of other tables by one SELECT.

To add one: a contract in `derived/` of a pipeline folder (`on_return: recompute`, and `made_from`), and its
SELECT beside it, in a file of the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field

from lineage.columns import ColumnEdge
from lineage.errors import ContractError
from lineage.identifiers import quoted
from lineage.model import Transformation
from lineage.version import transformation_of
from tasks.contract import Contract, Name, OnReturn
from tasks.table_definition import TableDefinition
from tasks.yaml_file import read_yaml

OURS: Final = ("tasks",)


class DerivedDefinition(TableDefinition):
    """A table whose columns are all computed from other tables; the one that it is about comes first."""

    made_from: tuple[Name, ...] = Field(min_length=1)

    def contract(self, name: str) -> Contract:
        columns = {each: column.model_copy(update={"derived": True}) for each, column in self.columns.items()}
        said = self.model_dump(exclude={"made_from", "columns"}, exclude_unset=True)
        return TableDefinition(**said, columns=columns).contract(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One aggregate: what its rows are, from which tables, and how an hour of it is computed."""

    contract: Contract
    made_from: Mapping[str, Contract]  # table → its contract, the one that it is about first
    sql: str  # one SELECT of the contract's columns; $1 the start of the hour, $2 its end (exclusive)

    def __post_init__(self) -> None:
        if self.contract.on_return is not OnReturn.RECOMPUTE:
            raise ContractError(f"{self.table} is an aggregate: its contract must say on_return: recompute.")

    @property
    def table(self) -> str:
        return self.contract.table

    @property
    def bucket(self) -> str:
        """The SQL expression of the hour a stored row belongs to; `ledger_outputs.bucket` is its value."""
        return f"date_trunc('hour', {quoted(self.contract.time_column)}, 'UTC')"

    @property
    def sources(self) -> tuple[str, ...]:
        """The tables whose change marks it consumes."""
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
        return transformation_of(load_aggregate, name=self.table, within=OURS, parameters=parameters)


def load_aggregate(path: Path, tables: Mapping[str, Contract]) -> Aggregate:
    """An aggregate of some of the tables: its contract, whose SELECT stands beside it; or ContractError."""
    made_from, contract = read_yaml(
        path, DerivedDefinition, lambda table: (table.made_from, table.contract(path.stem))
    )
    if contract.table != path.stem:
        raise ContractError(f"it is the contract of {contract.table}: call the file {contract.table}.yaml.")
    if unknown := [table for table in made_from if table not in tables]:
        raise ContractError(
            f"it is made from {', '.join(unknown)}, and there is no such table: name those there are."
        )
    if timeless := [table for table in made_from if tables[table].is_reference]:
        raise ContractError(
            f"it is made from {timeless[0]}, which has no `time`, and so no hours to be made again: look its "
            "values up by the step `lookup` where the records are read."
        )
    return Aggregate(
        contract=contract,
        made_from={table: tables[table] for table in made_from},
        sql=_statement(path.with_suffix(".sql")),
    )


def _statement(path: Path) -> str:
    """The statement of a file without its comment lines, which change nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"its SELECT in {path.name} cannot be read: {error}") from error
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))
