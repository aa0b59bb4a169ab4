"""What can be run by name: the flows of `prefect.yaml`, with their parameters from text."""

from collections.abc import Collection, Mapping
from inspect import signature
from typing import Any, Protocol, runtime_checkable

from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from pydantic import BaseModel, ValidationError

from flows.deploy import ROOT, declared
from flows.ours import FLOW
from infra.settings import Settings
from lineage.errors import NotFoundError, SettingsError


@runtime_checkable
class Checked(Protocol):
    """A parameter that can tell before the run begins that it cannot work."""

    def check(self, settings: Settings) -> None: ...


def descriptions() -> dict[str, str]:
    """What can be run: name → what it does."""
    return {each["name"]: each["description"] for each in declared()}


def names() -> list[str]:
    """The names that can be run."""
    return list(descriptions())


def load_flow(name: str, streams: Collection[str] = ()) -> Flow[..., Any]:
    """The flow of a deployment; raises NotFoundError with the names there are, or that it is a stream's."""
    found = {deployment["name"]: deployment for deployment in declared()}
    if name in found:
        loaded: Flow[..., Any] = load_flow_from_entrypoint(str(ROOT / found[name]["entrypoint"]))
        return loaded
    if name in streams:
        raise NotFoundError(f"{name} is a stream: run it with `headwater listen --pipeline {name}`.")
    raise NotFoundError(f"There is nothing named {name!r} to run: choose from {', '.join(found)}.")


def parameters(flow: Flow[..., Any], given: Mapping[str, str]) -> Mapping[str, Any]:
    """The flow's parameters from texts, each a field of its one parameter's model.

    Raises SettingsError when a key is unknown, a value wrong or a field missing.
    """
    ((name, parameter),) = signature(flow.fn).parameters.items()
    model: type[BaseModel] = parameter.annotation
    if not given and parameter.default is not parameter.empty:
        return {}
    try:
        return {name: model.model_validate(given)}
    except ValidationError as error:
        problems = "; ".join(f"{_place(each['loc'])}: {each['msg'].lower()}" for each in error.errors())
    called, fields = flow.name.removeprefix(FLOW), ", ".join(model.model_fields)
    raise SettingsError(f"{called} cannot run with these values ({problems}); it takes --set with {fields}.")


def check(given: Mapping[str, Any], settings: Settings) -> None:
    """Raise what a run with these parameters would fail with under these settings."""
    for parameter in given.values():
        if isinstance(parameter, Checked):
            parameter.check(settings)


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
