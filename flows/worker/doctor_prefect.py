"""Prefect's server: does it answer, does it hold our deployments, and what only looks like ours?"""

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

import prefect
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from flows.catalog import Catalog
from flows.process.ours import MARK, Installation, paged
from flows.process.prefect_errors import translated
from flows.worker.deploy import declared
from flows.worker.deployed_pulls import ENTRYPOINT, OF_BEFORE
from flows.worker.runnable import descriptions
from infra.doctor.finding import Finding, Level, away, readable
from infra.endpoints import resolve_prefect
from infra.local.services import endpoints
from infra.settings import Settings
from lineage.errors import HeadwaterError

PART: Final = "Prefect server"


async def check(settings: Settings, catalog: Catalog) -> tuple[Finding, ...]:
    """Findings about the server and what is deployed there."""
    url = urlsplit(resolve_prefect(settings, endpoints(settings.home)).url)
    try:
        with translated():
            async with get_client() as client:
                version, there = await client.api_version(), await _deployed(client)
    except HeadwaterError as error:
        fix = "Start it, or correct HEADWATER_PREFECT_API_URL."
        return (away(PART, error, fix),)
    tls = url.scheme == "https"
    seen = f"version {version}, {'TLS' if tls else 'no TLS'}, {len(there)} deployments"
    fix = "Write HEADWATER_PREFECT_API_URL with https://."
    findings = [Finding(PART, Level.OK, seen), *readable(PART, url.hostname, tls, fix)]
    if version != prefect.__version__:
        sentence = f"it is version {version} and we are {prefect.__version__}"
        findings.append(Finding(PART, Level.WARNING, sentence, "Run the same version on both sides."))
    try:
        ours = await Installation.of(settings)
    except HeadwaterError:  # told where Postgres is looked at
        sentence = "which deployments are ours is not known without our store in Postgres."
        return (*findings, Finding(PART, Level.WARNING, sentence))
    return (*findings, *_judged(ours, there, descriptions(catalog)))


async def _deployed(client: PrefectClient) -> list[DeploymentResponse]:
    return [each async for each in paged(client.read_deployments)]


def _judged(ours: Installation, there: list[DeploymentResponse], names: Iterable[str]) -> Iterator[Finding]:
    marked = {each.name for each in there if ours.mark in each.tags}
    wanted = {ours.deployment(name): name for name in names}
    if lacking := [name for deployment, name in wanted.items() if deployment not in marked]:
        fix = "Start `headwater serve`, which deploys all."
        yield Finding(PART, Level.PROBLEM, f"not deployed: {', '.join(lacking)}", fix)
    if left := sorted(marked - wanted.keys()):
        sentence = f"deployments of this store that nobody runs any more: {', '.join(left)}"
        yield Finding(PART, Level.WARNING, sentence, "Delete them there.")
    if unmarked := sorted(each.name for each in there if _is_unmarked(each)):
        sentence = f"deployments of our code without a mark, left alone: {', '.join(unmarked)}"
        fix = "An older Headwater made them: delete them there when nobody runs one."
        yield Finding(PART, Level.WARNING, sentence, fix)


def _is_unmarked(deployment: DeploymentResponse) -> bool:
    """Whether it runs code of ours for nobody knows whom: what we deploy today is marked."""
    code = {ENTRYPOINT, *OF_BEFORE, *(str(each["entrypoint"]) for each in declared())}
    return deployment.entrypoint in code and not any(tag.startswith(MARK) for tag in deployment.tags)
