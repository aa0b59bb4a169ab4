"""Everything that was defined when it was read, and what of it could not be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flows.catalog.pipeline import Pipeline
from lineage.errors import ContractError, NotFoundError
from tasks.contract import Contract
from tasks.derived.aggregate import Aggregate
from tasks.extract.pull import Pull
from tasks.trigger import Trigger

Kind = Literal["pipeline", "table", "trigger", "directory"]


@dataclass(frozen=True, slots=True)
class Broken:
    """What is left out, and why; `path`: where it is defined, or the directory that cannot be read."""

    kind: Kind
    path: Path
    name: str
    why: str


def sentence(error: ContractError) -> str:
    """What is wrong, with its end."""
    said = str(error)
    return said if said.endswith((".", "?")) else f"{said}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Whoever starts a process reads it, once. `contracts` are of every table, derived ones too.

    `derived`: each after those that it is made from.
    """

    pipelines: Mapping[str, Pipeline]
    contracts: Mapping[str, Contract]
    derived: Mapping[str, Aggregate]
    triggers: Mapping[str, Trigger] = field(default_factory=dict)
    broken: tuple[Broken, ...] = ()

    def pipeline(self, name: str) -> Pipeline:
        """Raises NotFoundError with the names there are, ContractError where that one is broken."""
        if name in self.pipelines:
            return self.pipelines[name]
        self._refuse_broken("pipeline", name)
        raise NotFoundError(f"There is no pipeline {name!r}: choose from {', '.join(self.pipelines)}.")

    def contract(self, table: str) -> Contract:
        """The same of a table."""
        if table in self.contracts:
            return self.contracts[table]
        self._refuse_broken("table", table)
        raise NotFoundError(f"There is no table {table}: choose from {', '.join(self.contracts)}.")

    @property
    def pulls(self) -> Sequence[Pipeline]:
        """Those whose source is asked."""
        return [each for each in self.pipelines.values() if isinstance(each.source, Pull)]

    @property
    def broken_tables(self) -> tuple[str, ...]:
        """Why each table is left out that is: nothing is made ready or computed for it."""
        return tuple(each.why for each in self.broken if each.kind == "table")

    def _refuse_broken(self, kind: Kind, name: str) -> None:
        for each in self.broken:
            if (each.kind, each.name) == (kind, name):
                raise ContractError(f"{kind.capitalize()} {name} is broken: {each.why}")
