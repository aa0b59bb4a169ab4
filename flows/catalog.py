"""The catalog of pipelines: one YAML file each in `flows/pipelines/`, checked against one model.

`docs/pipeline.schema.json` is the model as JSON Schema, for editors and for people who write such a file.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lineage.errors import ContractError, NotFoundError
from lineage.model import Run, SubjectKind, Transformation
from lineage.version import transformation_of
from tasks.batch import RawBatch
from tasks.contract import ColumnType, Contract, Frozen, Name, OnReturn, load_contract
from tasks.extract.files import FileOptions
from tasks.extract.opentrons import RobotOptions
from tasks.extract.registry import SourceOptions
from tasks.load.plan import LoadPlan
from tasks.transform.columns import Columns
from tasks.transform.registry import Refine, bound, transform
from tasks.yaml_file import read_yaml

ROOT = Path(__file__).parents[1]
PIPELINES = ROOT / "flows" / "pipelines"
CONTRACTS = ROOT / "tasks" / "contracts"
OURS = ("tasks", "lineage")
"""The packages whose code is part of a transformation's version."""


class Retry(Frozen):
    """How a flow's step is tried again when a service is away; a listener tries without end."""

    times: int = Field(default=3, ge=0)
    delay: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(seconds=1)  # doubles, with jitter
    max_delay: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(seconds=60)

    @property
    def delays(self) -> list[float]:
        """Seconds before each further try: exponential backoff."""
        longest = self.max_delay.total_seconds()
        return [min(longest, self.delay.total_seconds() * 2**n) for n in range(self.times)]


class About(Frozen):
    """Who the rows of a table are about."""

    kind: Literal["device", "experiment"]
    column: Name


class Table(Frozen):
    """A table the pipeline writes; its contract is `tasks/contracts/NAME.yaml`."""

    name: Name
    about: About | None = None
    uses: Mapping[SubjectKind, Name] = {}  # kind → the JSON column that lists them


class Pipeline(Frozen):
    """From one source to its tables."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    doc: str = Field(min_length=1)
    owner: str = Field(min_length=1)  # whom to ask
    source_name: str = Field(min_length=1)  # in every row
    source: SourceOptions
    transform: str  # registered in tasks/transform/registry.py, or module:function
    tables: tuple[Table, ...] = Field(min_length=1)
    retry: Retry = Retry()
    rejected_limit: int | None = Field(default=1_000_000, ge=1)  # that wait; then the source is not read
    max_per_second: float | None = Field(default=None, gt=0)  # records, of a stream, per listener

    @model_validator(mode="after")
    def _capped_is_a_stream(self) -> Self:
        if self.max_per_second is not None and isinstance(self.source, RobotOptions):
            raise ContractError(
                f"Pipeline {self.name} is no stream, so max_per_second does nothing: leave it out."
            )
        return self

    def contracts(self) -> dict[str, Contract]:
        """Of each table; raises ContractError where one is wrong, or is not what the pipeline says of it."""
        found = {table.name: _contract_of(table) for table in self.tables}
        if len(found) < len(self.tables):
            raise ContractError(f"Pipeline {self.name} names a table twice: leave one of them out.")
        return found

    def refine(self) -> Refine:
        """The transform bound to the pipeline's contracts; loads what it looks things up in."""
        return bound(self.transform, self.contracts(), self.source_name)

    def transformation(self) -> Transformation:
        contracts = {name: contract.model_dump(mode="json") for name, contract in self.contracts().items()}
        return transformation_of(
            transform(self.transform).function,
            name=self.transform,
            within=OURS,
            parameters={"contracts": contracts, "source_name": self.source_name, **self._names()},
        )

    def _names(self) -> Mapping[str, Mapping[str, str]]:
        """The columns of files that have other names, which decide what is read; nothing where none has."""
        named = isinstance(self.source, FileOptions) and self.source.columns
        return {"columns": named} if named else {}

    def read_as(self, batch: RawBatch) -> RawBatch:
        """A stored batch as the pipeline reads it today: with its names of a file's columns."""
        if batch.layout is None or not isinstance(self.source, FileOptions):
            return batch
        columns = {**batch.layout.columns, **self.source.columns}
        return replace(batch, layout=replace(batch.layout, columns=columns))

    def load_plan(self, run: Run) -> LoadPlan:
        """The pipeline as the load step sees it, in this run."""
        abouts = {table.name: table.about for table in self.tables}
        return LoadPlan(
            pipeline=self.name,
            contracts=self.contracts(),
            subjects={name: (about.kind, about.column) for name, about in abouts.items() if about},
            uses={table.name: table.uses for table in self.tables if table.uses},
            transformation=self.transformation(),
            run=run,
            columns=self.columns,
        )

    def columns(self, source: str) -> Columns:
        """What each column of each table comes from, in a batch of that source (a URI)."""
        return transform(self.transform).columns(self.contracts(), source, self.source_name)


def _contract_of(table: Table) -> Contract:
    """The contract of a pipeline's table, which names it and has the columns that the pipeline names."""
    contract = load_contract(CONTRACTS / f"{table.name}.yaml")
    if contract.table != table.name:
        raise ContractError(
            f"{table.name}.yaml is the contract of {contract.table}: name the file {contract.table}.yaml, "
            f"or write `table: {table.name}` in it."
        )
    if contract.on_return is OnReturn.RECOMPUTE:
        raise ContractError(
            f"{table.name} is an aggregate, computed from other tables: a pipeline cannot fill it."
        )
    about = {table.about.column: ColumnType.TEXT} if table.about else {}
    for name, kind in (about | dict.fromkeys(table.uses.values(), ColumnType.JSON)).items():
        if name not in contract.names or contract.column(name).type is not kind:
            raise ContractError(
                f"A pipeline says that {name} names what a row of {table.name} is about or used, and "
                f"{table.name}.yaml has no such column of type {kind}: correct one of the two."
            )
    return contract


def load_pipeline(path: Path) -> Pipeline:
    """Read a pipeline from YAML; raises ContractError with the file and what is wrong."""
    loaded = read_yaml(path, Pipeline)
    if isinstance(loaded.source, FileOptions) and loaded.source.columns:
        _check_columns(loaded.source.columns, loaded)
    return loaded


def _check_columns(given: Mapping[str, str], pipeline: Pipeline) -> None:
    """Raise ContractError where a file's column is said to be one that no table reads."""
    there = {column.name for contract in pipeline.contracts().values() for column in contract.inputs}
    for theirs, ours in given.items():
        if ours not in there:
            raise ContractError(
                f"Pipeline {pipeline.name}: columns says that {theirs} is {ours}, which no table reads: "
                f"write `file's name: table's name`, of {', '.join(sorted(there))}."
            )


def all_contracts() -> list[Contract]:
    """Every contract there is, of curated tables and of aggregates."""
    return [load_contract(path) for path in sorted(CONTRACTS.glob("*.yaml"))]


def pipelines() -> dict[str, Pipeline]:
    """Every pipeline of the catalog by its name."""
    loaded = [load_pipeline(path) for path in sorted(PIPELINES.glob("*.yaml"))]
    return {pipeline.name: pipeline for pipeline in loaded}


def pipeline(name: str) -> Pipeline:
    """The pipeline of that name; raises NotFoundError with the names there are."""
    catalog = pipelines()
    if name not in catalog:
        raise NotFoundError(f"There is no pipeline {name!r}: choose from {', '.join(catalog)}.")
    return catalog[name]
