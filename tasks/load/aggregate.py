"""Aggregates: tables whose hours are computed from the rows of other tables by one SELECT.

To add one: a contract (`on_return: recompute`), a file of its name in `aggregates/`, and a line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lineage.columns import ColumnEdge
from lineage.errors import ContractError
from lineage.identifiers import quoted
from lineage.model import Transformation
from lineage.version import transformation_of
from tasks.contract import POSTGRES_TYPES, Contract, OnReturn, load_contract
from tasks.load.sql_columns import columns_of

SQL = Path(__file__).parent / "aggregates"
CONTRACTS = Path(__file__).parents[1] / "contracts"
OURS = ("tasks",)

REGISTRY: Mapping[str, tuple[str, ...]] = {
    "sensor_readings_hourly": ("sensor_readings",),
    "experiment_summary": ("experiments", "experiment_steps"),
}
"""Table → the tables it is computed from, the one it is about first.

A refresh consumes the change marks of its sources, so a table is the source of one aggregate only.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One aggregate: what its rows are, from which tables, and how an hour of it is computed."""

    contract: Contract
    sources: tuple[str, ...]  # the tables whose change marks it consumes
    sql: str  # one SELECT of the contract's columns; $1 the start of the hour, $2 its end (exclusive)

    def __post_init__(self) -> None:
        if self.contract.on_return is not OnReturn.RECOMPUTE:
            raise ContractError(f"{self.table} is an aggregate: its contract must say on_return: recompute")

    @property
    def table(self) -> str:
        return self.contract.table

    @property
    def bucket(self) -> str:
        """The SQL expression of the hour a stored row belongs to; `ledger_outputs.bucket` is its value."""
        return f"date_trunc('hour', {quoted(self.contract.time)}, 'UTC')"

    def columns(self) -> tuple[ColumnEdge, ...]:
        """What each column comes from, as the SQL says."""
        sources = (load_contract(CONTRACTS / f"{table}.yaml") for table in self.sources)
        tables = {
            source.table: {column.name: POSTGRES_TYPES[column.type] for column in source.columns}
            for source in sources
        }
        return columns_of(self.sql, tables)

    def transformation(self) -> Transformation:
        """The SQL and the contract are what makes the values, so they are its version."""
        parameters = {"sql": self.sql, "contract": self.contract.model_dump(mode="json")}
        return transformation_of(load_aggregates, name=self.table, within=OURS, parameters=parameters)


def load_aggregates() -> tuple[Aggregate, ...]:
    """Every registered aggregate, from its contract and its SQL file; raises ContractError."""
    sources = [source for names in REGISTRY.values() for source in names]
    if len(set(sources)) != len(sources):
        raise ContractError("a table is the source of two aggregates: they would take each other's marks")
    return tuple(
        Aggregate(
            contract=load_contract(CONTRACTS / f"{table}.yaml"),
            sources=names,
            sql=_statement(SQL / f"{table}.sql"),
        )
        for table, names in REGISTRY.items()
    )


def _statement(path: Path) -> str:
    """The statement of a file without its comment lines, which change nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ContractError(f"the aggregate's file {path.name} cannot be read: {error}") from error
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))
