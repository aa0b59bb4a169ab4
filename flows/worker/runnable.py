"""What can be run by name, with parameters from text: flows of `prefect.yaml`, and pulls of the catalog."""

from collections.abc import Mapping
from inspect import signature
from typing import Any, Protocol, runtime_checkable

from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from pydantic import BaseModel, ValidationError

from flows.batch.pull import pull
from flows.catalog import Catalog
from flows.process.ours import FLOW
from flows.worker.deploy import ROOT, declared
from infra.settings import Settings
from lineage.errors import NotFoundError, SettingsError


@runtime_checkable
class Checked(Protocol):
    """A parameter that can tell before the run begins that it cannot work."""

    def check(self, settings: Settings) -> None: ...


def descriptions(catalog: Catalog) -> dict[str, str]:
    """What can be run: name → what it does."""
    ours = {str(each["name"]): str(each["description"]) for each in declared()}
    return ours | {pipeline.name: pipeline.doc for pipeline in catalog.pulls}


def flows() -> dict[str, Flow[..., Any]]:
    """Every flow of ours by its name here, which several deployments may share."""
    loaded = [*(_loaded(str(each["entrypoint"])) for each in declared()), pull]
    return {flow.name.removeprefix(FLOW): flow for flow in loaded}


def load_flow(name: str, catalog: Catalog) -> Flow[..., Any]:
    """The flow of a deployment; raises NotFoundError with the names there are, or that it is a stream's."""
    found = {str(each["name"]): str(each["entrypoint"]) for each in declared()}
    if name in found:
        return _loaded(found[name])
    if name in {pipeline.name for pipeline in catalog.pulls}:
        return pull
    if name in catalog.pipelines:
        raise NotFoundError(f"{name} is a stream: run it with `headwater listen --pipeline {name}`.")
    there = ", ".join(descriptions(catalog))
    raise NotFoundError(f"There is nothing named {name!r} to run: choose from {there}.")


def _loaded(entrypoint: str) -> Flow[..., Any]:
    loaded: Flow[..., Any] = load_flow_from_entrypoint(str(ROOT / entrypoint))
    return loaded


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
