"""A pipeline as its file says it; `docs/pipeline.schema.json` is this model as JSON Schema, for editors."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from flows.catalog.schedule import PullSchedule
from lineage.errors import ContractError
from lineage.model import SubjectKind
from tasks.contract import Frozen, Name
from tasks.extract.pull import Pull
from tasks.extract.sources import SourceOptions
from tasks.extract.stream import Stream
from tasks.table_definition import TableDefinition
from tasks.transform.steps.kinds import AnyStep


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
    """A table the pipeline writes; its columns are in `tables/NAME.yaml` of a pipeline folder."""

    name: Name
    about: About | None = None
    uses: Mapping[SubjectKind, Name] = {}  # kind → the JSON column that lists them


class OwnTable(TableDefinition):
    """A table that stands in its pipeline."""

    name: Name
    about: About | None = None
    uses: Mapping[SubjectKind, Name] = {}


class Definition(Frozen):
    """From one source to its tables; the pipeline's name is that of its file."""

    model_config = ConfigDict(title="Pipeline")

    doc: str = Field(min_length=1)
    owner: str = Field(min_length=1)  # whom to ask
    source_name: str = ""  # of a robot's runs, in every row; unset: the pipeline's name
    source: SourceOptions
    transform: str = "readings"  # registered in tasks/transform/transforms.py, or module:function
    table: OwnTable | None = None
    tables: tuple[Table, ...] = ()  # with files of their own
    steps: tuple[AnyStep, ...] = ()  # what is done with good records, in this order
    schedule: PullSchedule | None = Field(default=None, description="Of a source that is asked: when")
    retry: Retry = Retry()
    rejected_limit: int | None = Field(default=1_000_000, ge=1)  # that wait; then the source is not read
    max_per_second: float | None = Field(default=None, gt=0)  # records, of a stream, per listener

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """Its own table, and those with files of their own."""
        own = self.table
        return (*([Table(name=own.name, about=own.about, uses=own.uses)] if own else []), *self.tables)

    @property
    def sets(self) -> tuple[str, ...]:
        """The columns that its steps set."""
        return tuple(name for step in self.steps for name in step.sets)

    @model_validator(mode="after")
    def _writes_a_table(self) -> Self:
        if self.table is None and not self.tables:
            raise ContractError("it writes no table: give it a `table`, or name its `tables`")
        return self

    @model_validator(mode="after")
    def _is_read_as_it_says(self) -> Self:
        if self.max_per_second is not None and not isinstance(self.source, Stream):
            raise ContractError("this pipeline is no stream, so max_per_second does nothing: leave it out")
        if self.schedule is not None and not isinstance(self.source, Pull):
            raise ContractError("its source is not asked, so a schedule does nothing: leave it out")
        if self.schedule is not None and isinstance(self.source, Pull):
            _check_scheduled(self.source)
        return self


def _check_scheduled(source: Pull) -> None:
    """Raise ContractError where a run must be told what no schedule tells."""
    try:
        source.scheduled_runs({})
    except ValidationError as error:
        missing = ", ".join(str(each["loc"][-1]) for each in error.errors())
        raise ContractError(
            f"each run of its source is told {missing}, which a schedule does not say: leave the schedule out"
        ) from error
