"""A pipeline of the catalog: what its file says, with the contracts of its tables."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

from pydantic import Field

from flows.catalog.definition import Definition
from lineage.acts import NODES
from lineage.fold import WAY
from lineage.model import Run, Transformation
from lineage.version import beside, transformation_of
from tasks.batch import RawBatch
from tasks.contract import Contract
from tasks.extract.files import FileOptions
from tasks.load.plan import LoadPlan
from tasks.our_code import DECIDES_NOTHING, OURS
from tasks.transform.columns import Columns
from tasks.transform.steps.kinds import deciding
from tasks.transform.transforms import TRANSFORMS, LookedUp, Parameters, Refine, bound, transform

FLOWS: Final = frozenset({"partitions", "aggregates", "proof", "folds", "full-proof"})
"""The deployments of `prefect.yaml`, beside which a pipeline that is asked is another."""

ACTS: Final = frozenset({*NODES, WAY})
"""What other transformations of ours are called; that of a pipeline is called like the pipeline."""

NAME: Final = r"^[a-z][a-z0-9-]{0,62}$"


class Pipeline(Definition):
    """From one source to its tables, each with its contract."""

    name: str = Field(pattern=NAME)
    contracts: Mapping[str, Contract]  # by the table's name
    looks_up: Mapping[str, Contract] = {}  # the reference tables that its steps look values up in

    @property
    def every_contract(self) -> Sequence[Contract]:
        """Of the tables that it writes, and of those that it looks values up in."""
        return tuple({**self.looks_up, **self.contracts}.values())

    def refine(self) -> Refine:
        """The transform bound to the pipeline's contracts."""
        return bound(self.transform, self.contracts, self._parameters())

    def _parameters(self) -> Parameters:
        return Parameters(
            source_name=self.source_name,
            pattern=self.source.location_pattern,
            steps=self.steps,
            looks_up=self.looks_up,
        )

    def transformation(self) -> Transformation:
        contracts = {name: contract.model_dump(mode="json") for name, contract in self.contracts.items()}
        function = transform(self.transform).function
        return transformation_of(
            function,
            name=self.name,
            within=OURS if self.transform in TRANSFORMS else (*OURS, *beside(function)),
            without=DECIDES_NOTHING,
            parameters={"contracts": contracts, **self._said()},
        )

    def _said(self) -> Mapping[str, Any]:
        """What else decides its values: a file's format and columns, parts of a topic or path, steps …"""
        said: dict[str, Any] = {}
        if transform(self.transform).names_source:
            said["source_name"] = self.source_name
        if isinstance(self.source, FileOptions) and self.source.format:
            said["format"] = self.source.format.model_dump(mode="json", exclude_defaults=True)
        if isinstance(self.source, FileOptions) and self.source.columns:
            said["columns"] = self.source.columns
        if (pattern := self.source.location_pattern) and pattern.names:
            said["named"] = {pattern.kind: pattern.said}
        if self.steps:
            said["steps"] = [step.model_dump(mode="json") for step in self.steps]
        return said

    def read_as(self, batch: RawBatch) -> RawBatch:
        """A stored batch as the pipeline reads it today: with its format and names of a file's columns."""
        if batch.layout is None or not isinstance(self.source, FileOptions):
            return batch
        return replace(batch, layout=self.source.read_again(batch.layout))

    def load_plan(self, run: Run) -> LoadPlan:
        """The pipeline as the load step sees it, in this run."""
        abouts = {table.name: table.about for table in self.tables}
        return LoadPlan(
            pipeline=self.name,
            contracts=self.contracts,
            subjects={name: (about.kind, about.column) for name, about in abouts.items() if about},
            uses={table.name: table.uses for table in self.tables if table.uses},
            transformation=self.transformation(),
            run=run,
            columns=self.columns,
            deciding=self._deciding(),
        )

    def _deciding(self) -> Mapping[str, Collection[str]]:
        """Of the one table that steps fill; `Steps` says what it is."""
        return {
            name: causes
            for contract in self.contracts.values()
            if self.steps
            for name, causes in deciding(contract, self.steps, self.looks_up).items()
        }

    @cached_property
    def looked_up(self) -> LookedUp:
        """The state of each dataset that its values are looked up in."""
        return transform(self.transform).looked_up(self.contracts, self._parameters())

    def columns(self, source: str) -> Columns:
        """What each column of each table comes from, in a batch of that source (a URI)."""
        return transform(self.transform).columns(self.contracts, source, self._parameters())
