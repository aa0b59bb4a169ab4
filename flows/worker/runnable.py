"""What can be run by name, with parameters from text: flows of `prefect.yaml`, and pulls of the catalog."""

from collections.abc import Mapping
from inspect import signature
from typing import Any, Protocol, runtime_checkable

from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from pydantic import BaseModel, ValidationError

from flows.acts.asking import PullRequest, parsed, problems, taken
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


def parameters(name: str, catalog: Catalog, given: Mapping[str, str]) -> Mapping[str, Any]:
    """The parameters of a deployment's flow from texts.

    Raises SettingsError when a key is unknown, a value wrong or a field missing.
    """
    flow = load_flow(name, catalog)
    if flow is not pull:
        return _of_ours(flow, given)
    parsed(catalog.pipeline(name), given)
    return {"request": PullRequest.model_validate({**given, "pipeline": name})}


def _of_ours(flow: Flow[..., Any], given: Mapping[str, str]) -> Mapping[str, Any]:
    """Each text is a field of its one parameter's model."""
    ((name, parameter),) = signature(flow.fn).parameters.items()
    model: type[BaseModel] = parameter.annotation
    if not given and parameter.default is not parameter.empty:
        return {}
    try:
        return {name: model.model_validate(given)}
    except ValidationError as error:
        called = flow.name.removeprefix(FLOW)
        wrong = f"{called} cannot run with these values ({problems(error)}); {taken(model)}."
        raise SettingsError(wrong) from error


def check(given: Mapping[str, Any], settings: Settings) -> None:
    """Raise what a run with these parameters would fail with under these settings."""
    for parameter in given.values():
        if isinstance(parameter, Checked):
            parameter.check(settings)
