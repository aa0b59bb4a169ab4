"""`lookup`: columns from the row of a reference table that a record names.

Which row that is depends on the state of the table that the transform is given; a state never changes, so a
value still depends on its record and that state alone.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import polars as pl
from pydantic import Field

from lineage import naming
from lineage.errors import ContractError
from tasks.batch import Reference
from tasks.contract import Column, Contract, Frozen, Name
from tasks.transform.steps.step import Found, is_there, nearest, ours_to_theirs

DEVICES: Final = Contract.stored(
    """{
        "table": "devices", "key": ["device_id"], "on_return": "revise", "columns": [
            {"name": "device_id", "type": "text"},
            {"name": "name", "type": "text"},
            {"name": "model", "type": "text"},
            {"name": "site", "type": "text"}
        ]
    }"""
)
"""The device register (`headwater devices`), in which values are looked up as in a reference table. It is the
frame of that name of `Reference`, one row per device."""


class LookupColumns(Frozen):
    """Which columns of which row: names that are the same in both tables, or ours → theirs."""

    table: Name
    by: Name | Mapping[Name, Name]  # the table's whole key
    add: tuple[Name, ...] | Mapping[Name, Name] = Field(min_length=1)

    def added(self) -> Mapping[str, str]:
        """Column that is set → the reference table's."""
        return ours_to_theirs(self.add)

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
        contract = _reference(self.table, tables)
        for ours, theirs in self._whole_key(contract).items():
            is_there("lookup", ours, there)
            _alike(columns[ours], contract.column(theirs), self.table)
        for ours, theirs in self.lookup.added().items():
            if theirs not in contract.names:
                near = nearest(theirs, contract.names)
                raise ContractError(f"lookup adds {theirs}, and {self.table} has no such column: {near}")
            _alike(columns[ours], contract.column(theirs), self.table)

    def reads(self, _there: Sequence[str]) -> Mapping[str, Collection[str]]:
        by = self.lookup.by
        return dict.fromkeys(self.sets, tuple(by) if isinstance(by, Mapping) else (by,))

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

    def does(self, _there: Sequence[str], tables: Mapping[str, Contract]) -> Found:
        contract = tables[self.table]
        key = self.lookup.key(contract)
        their_key = {f".key {number}": theirs for number, theirs in enumerate(key.values())}
        named = {**their_key, **self.lookup.added()}

        def add(records: pl.LazyFrame, table: pl.LazyFrame) -> pl.LazyFrame:
            rows = table.select(pl.col(theirs).alias(name) for name, theirs in named.items())
            return records.join(
                rows, left_on=list(key), right_on=list(their_key), how="left", maintain_order="left"
            )

        return Found(
            dataset=naming.postgres(self.table),
            schema=contract.row_schema,
            rows=lambda _records, reference: _rows(contract, reference),
            state=lambda reference: _state(contract, reference),
            add=add,
        )


def _rows(contract: Contract, reference: Reference) -> pl.DataFrame:
    if contract is DEVICES:
        return reference.frames.get(contract.table, contract.row_schema.to_frame())
    return reference.tables[contract.table].rows


def _state(contract: Contract, reference: Reference) -> str | None:
    if contract is DEVICES:
        return reference.digests.get(contract.table)
    return reference.tables[contract.table].said


def _reference(table: str, tables: Mapping[str, Contract]) -> Contract:
    if table in tables and tables[table].is_reference:
        return tables[table]
    if table in tables:
        raise ContractError(
            f"lookup reads {table}, which is no reference table: it has a `time`, and a row of any moment"
        )
    known = [name for name, contract in tables.items() if contract.is_reference]
    raise ContractError(f"there is no table {table} to look up in, or it is broken: {nearest(table, known)}")


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
