"""What a run of a pull is asked for: which pipeline, and what its source lets each run be told.

`headwater run` · a deployment · a trigger ─▶ PullRequest ─told─▶ the source's own model ─▶ checked
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flows import catalog
from flows.catalog import Catalog, Pipeline
from infra.settings import Settings
from lineage.errors import NotFoundError, SettingsError
from tasks.contract import Frozen
from tasks.extract.opentrons import RobotOptions
from tasks.extract.pull import Pull

TAG: Final = "headwater-pull"
"""Which of our deployments are of pipelines that are asked."""
OF_BEFORE: Final = "experiments"
"""The one pipeline whose runs did not name it: it had a flow of its own."""
_TOLD_BEFORE: Final = frozenset({"robot", "experiment_id"})


class PullRequest(Frozen):
    """A pipeline of the catalog; what its source's run is told stands beside."""

    model_config = ConfigDict(extra="allow")

    pipeline: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, said: Any) -> Any:
        """A run of an older version, which `headwater resume` finds, is understood."""
        old = isinstance(said, Mapping) and said.keys() == _TOLD_BEFORE
        return {"pipeline": OF_BEFORE, **said} if old else said

    def __str__(self) -> str:
        """What people see its run called."""
        return " ".join(map(str, (self.pipeline, *self.told.values())))

    @property
    def told(self) -> Mapping[str, Any]:
        return self.model_extra or {}

    def check(self, settings: Settings) -> None:
        """Raises NotFoundError or SettingsError for what no run can do."""
        checked(catalog.read(settings).pipeline(self.pipeline), self.told, robots_of(settings))


def checked(pipeline: Pipeline, told: Mapping[str, Any], robots: Mapping[str, str]) -> Frozen:
    """What the source's run is told, as its own model; raises NotFoundError or SettingsError."""
    asked = parsed(pipeline, told)
    source_of(pipeline).check_run(asked, robots)
    return asked


def parsed(pipeline: Pipeline, told: Mapping[str, Any]) -> Frozen:
    """The same, without a look at what is there now."""
    model = source_of(pipeline).run_parameters
    for word in told:
        if word not in model.model_fields:
            near = get_close_matches(word, model.model_fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"{taken(model)}."
            raise SettingsError(f"A run of {pipeline.name} has no parameter {word!r}: {hint}")
    try:
        return model.model_validate(told)
    except ValidationError as error:
        wrong = f"{pipeline.name} cannot run with these values ({problems(error)}); {taken(model)}."
        raise SettingsError(wrong) from error


def problems(error: ValidationError) -> str:
    """Where and what of each."""
    of_each = ((".".join(map(str, each["loc"])), each["msg"]) for each in error.errors())
    return "; ".join(f"{place}: {what.lower()}" for place, what in of_each)


def taken(model: type[BaseModel]) -> str:
    """The parameters there are, for people."""
    return f"it takes {', '.join(model.model_fields) or 'none'}"


def source_of(pipeline: Pipeline) -> Pull:
    """The pipeline's source; raises NotFoundError for one that is not asked."""
    if not isinstance(pipeline.source, Pull):
        raise NotFoundError(f"{pipeline.name} is not asked: its source is {pipeline.source.type}.")
    return pipeline.source


def robots_of(settings: Settings) -> Mapping[str, str]:
    """The URL of each robot, as sources are given them."""
    return {robot.name: robot.url for robot in settings.robots}


def readers(catalog: Catalog) -> Iterator[tuple[Pipeline, RobotOptions]]:
    """Every pipeline that reads robots, and what it says of them."""
    for pipeline in catalog.pulls:
        if isinstance(pipeline.source, RobotOptions):
            yield pipeline, pipeline.source


def request(pipeline: str, told: Frozen) -> dict[str, Any]:
    """The parameters of a flow run, as Prefect keeps them."""
    said = told.model_dump(mode="json", exclude_none=True)
    return {"request": {"pipeline": pipeline, **said}}


def completed(known: Catalog, pipeline: str, told: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The same, of what somebody else tells; raises NotFoundError, SettingsError or ContractError."""
    return request(pipeline, checked(known.pipeline(pipeline), told, robots_of(settings)))
