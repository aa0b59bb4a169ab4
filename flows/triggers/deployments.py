"""Starting runs of any deployment on the Prefect server, ours or its user's own: each key once.

The run is made and nothing more: whoever works for the deployment runs it.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.acts.asking import TAG, completed
from flows.catalog import Catalog
from flows.process.ours import Installation, paged
from flows.process.prefect_errors import translated
from infra.settings import Settings
from lineage.errors import NotFoundError, RejectedError

Complete = Callable[[DeploymentResponse, Mapping[str, Any]], Mapping[str, Any]]
"""What a run of a deployment is given, from an event's parameters; raises ParametersError."""

_REFUSED: Final = (409, 422)  # what a server answers to parameters that the flow does not take


class ParametersError(RejectedError):
    """The deployment does not take these parameters: it, or who sends them, has to change."""


async def find(client: PrefectClient, name: str) -> DeploymentResponse:
    """The deployment FLOW/DEPLOYMENT; raises NotFoundError with the nearest name, UnavailableError."""
    with translated():
        try:
            return await client.read_deployment_by_name(name)
        except ObjectNotFound:
            known = await _names(client)
    nearest = get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "deploy it."
    raise NotFoundError(f"There is no deployment {name} on Prefect's server: {hint}")


async def _names(client: PrefectClient) -> list[str]:
    deployments = [each async for each in paged(client.read_deployments)]
    wanted = FlowFilter(id=FlowFilterId(any_=list({each.flow_id for each in deployments})))
    flows = {flow.id: flow.name async for flow in paged(client.read_flows, flow_filter=wanted)}
    return [f"{flows[each.flow_id]}/{each.name}" for each in deployments if each.flow_id in flows]


def complete(
    settings: Settings,
    catalog: Catalog,
    ours: Installation,
    deployment: DeploymentResponse,
    parameters: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Of a pull of ours they are what its source's run is told, and checked here; else as they are."""
    if not {ours.mark, TAG} <= set(deployment.tags):
        return parameters
    pipeline = deployment.parameters["request"]["pipeline"]
    try:
        return completed(catalog, pipeline, parameters, settings)
    except RejectedError as error:
        raise ParametersError(str(error)) from error


async def start(
    client: PrefectClient, deployment: DeploymentResponse, parameters: Mapping[str, Any], key: str
) -> FlowRun:
    """The run of that key: made now, or when it was asked for before.

    Raises ParametersError, UnavailableError, NotFoundError where the deployment was deleted meanwhile.
    """
    with translated():
        try:
            return await client.create_flow_run_from_deployment(
                deployment.id, parameters=dict(parameters), idempotency_key=key
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code not in _REFUSED:
                raise
            said = f"{deployment.name} does not take these parameters"
            raise ParametersError(f"{said}: {' '.join(error.response.text.split())[:300]}") from error
