"""`lookup`: columns from the row of a reference table that a record names.

Which row that is depends on the state of the table that the transform is given; a state never changes, so a
value still depends on its record and that state alone.
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeAlias

import polars as pl
from pydantic import Field

from lineage.errors import ContractError
from tasks.contract import Column, Contract, Frozen, Name

Tables: TypeAlias = Mapping[str, pl.LazyFrame]
"""Reference table → all its rows, each key once."""
Added: TypeAlias = Callable[[pl.LazyFrame, Tables], pl.LazyFrame]


class LookupColumns(Frozen):
    """Which columns of which row: names that are the same in both tables, or ours → theirs."""

    table: Name
    by: Name | Mapping[Name, Name]  # the table's whole key
    add: tuple[Name, ...] | Mapping[Name, Name] = Field(min_length=1)

    def added(self) -> Mapping[str, str]:
        """Column that is set → the reference table's."""
        return self.add if isinstance(self.add, Mapping) else {name: name for name in self.add}

    def key(self, contract: Contract) -> Mapping[str, str]:
        """Column of the record → the reference table's; of one column, whatever it is called there."""
        if isinstance(self.by, Mapping):
            return self.by
        return {self.by: contract.key[0]}


class Lookup(Frozen):
    """A record whose row is not there gets nulls."""

    lookup: LookupColumns

    @property
    def table(self) -> str:
        return self.lookup.table

    @property
    def sets(self) -> Sequence[str]:
        return tuple(self.lookup.added())

    def check(
        self, columns: Mapping[str, Column], there: Sequence[str], tables: Mapping[str, Contract]
    ) -> None:
        """Raise ContractError for what cannot be looked up so: `columns` of the table, `there` so far."""
        contract = _reference(self.table, tables)
        key = self._whole_key(contract)
        for ours, theirs in key.items():
            if ours not in there:
                near = _near(ours, there)
                raise ContractError(f"lookup reads {ours}, and there is no such column before it: {near}")
            _alike(columns[ours], contract.column(theirs), self.table)
        for ours, theirs in self.lookup.added().items():
            if theirs not in contract.names:
                near = _near(theirs, contract.names)
                raise ContractError(f"lookup adds {theirs}, and {self.table} has no such column: {near}")
            _alike(columns[ours], contract.column(theirs), self.table)

    def _whole_key(self, contract: Contract) -> Mapping[str, str]:
        if isinstance(self.lookup.by, str) and len(contract.key) > 1:
            pairs = ", ".join(f"OURS: {name}" for name in contract.key)
            raise ContractError(f"the key of {self.table} has several columns: write `by: {{{pairs}}}`")
        key = self.lookup.key(contract)
        if sorted(key.values()) != sorted(contract.key):
            wanted = ", ".join(contract.key)
            said = f"lookup goes by {', '.join(key.values())}, and the key of {self.table} is {wanted}"
            raise ContractError(f"{said}: name the whole key, and nothing else")
        return key

    def added_from(self, contract: Contract) -> Added:
        """What adds its columns to records, given all rows of the table."""
        key, added = self.lookup.key(contract), self.lookup.added()
        their_key = {f".key {number}": theirs for number, theirs in enumerate(key.values())}

        def add(records: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
            named = {**their_key, **added}
            rows = tables[self.table].select(pl.col(theirs).alias(name) for name, theirs in named.items())
            return records.join(
                rows, left_on=list(key), right_on=list(their_key), how="left", maintain_order="left"
            )

        return add


def _reference(table: str, tables: Mapping[str, Contract]) -> Contract:
    if table in tables and tables[table].is_reference:
        return tables[table]
    if table in tables:
        raise ContractError(
            f"lookup reads {table}, which is no reference table: it has a `time`, and a row of any moment"
        )
    known = [name for name, contract in tables.items() if contract.is_reference]
    raise ContractError(f"there is no table {table} to look up in, or it is broken: {_near(table, known)}")


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"choose from {', '.join(sorted(known))}" if known else "there is none"


def _alike(ours: Column, theirs: Column, table: str) -> None:
    if ours.type != theirs.type:
        said = f"{ours.name} is {ours.type}, and {theirs.name} of {table} is {theirs.type}"
        raise ContractError(f"{said}: give both the same type")
    if ours.digits != theirs.digits:
        said = f"{ours.name} is {ours.postgres_type}, and {theirs.name} of {table} is {theirs.postgres_type}"
        raise ContractError(f"{said}: give both the same `precision` and `scale`")
    if None not in (ours.unit, theirs.unit) and ours.unit != theirs.unit:
        said = f"{ours.name} is in {ours.unit}, and {theirs.name} of {table} is in {theirs.unit}"
        raise ContractError(f"{said}: give both the same unit")
