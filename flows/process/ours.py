"""What on a Prefect server is ours: it bears our mark and is asked for by it, never by a name alone.

A server is shared: with other projects, whose flows may be called as ours are, and with other installations
of Headwater. So the mark is a tag on every deployment and every flow run, and names the store that it works
for. The names are for people: they begin with `HEADWATER_INSTALLATION`.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from prefect import tags
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterName,
    FlowRunFilterTags,
)
from prefect.client.schemas.responses import DeploymentResponse

from flows.process import stores
from infra.settings import Settings
from lineage import seal

FLOW: Final = "headwater-"
"""What the names of our flows begin with: a server knows a flow by its name alone."""
MARK: Final = "headwater:"
"""What the mark of every installation begins with."""
PAGE: Final = 200  # of anything, as many as a server gives at once

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Installation:
    """One store and those who work for it: `name` is what people read, `mark` is the store's alone."""

    name: str
    mark: str

    @classmethod
    async def of(cls, settings: Settings) -> Self:
        """The installation of these settings; raises UnavailableError when Postgres is away."""
        async with stores.open_connection(settings, "installation") as connection:
            return cls(settings.installation, f"{MARK}{await seal.identity(connection)}")

    @property
    def pool(self) -> str:
        """Its work pool, and the queue in it."""
        return f"{self.name}-flows"

    def deployment(self, name: str) -> str:
        """What a deployment of `prefect.yaml` is called on the server."""
        return f"{self.name}-{name}"

    @property
    def runs(self) -> FlowRunFilterTags:
        return FlowRunFilterTags(all_=[self.mark])

    def marking(self) -> AbstractContextManager[set[str]]:
        """Gives our mark to the runs of flows that are called in the block."""
        return tags(self.mark)

    async def deployments(self, client: PrefectClient) -> dict[str, DeploymentResponse]:
        """Its deployments on the server, by their names there."""
        return {each.name: each for each in await self.every_deployment(client)}

    async def every_deployment(self, client: PrefectClient) -> list[DeploymentResponse]:
        """The same, those too that an older version left under a name that is used anew."""
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[self.mark]))
        return [each async for each in paged(client.read_deployments, deployment_filter=ours)]

    async def taken(self, client: PrefectClient, names: Mapping[str, str]) -> list[str]:
        """Which of our names (deployment → flow) on the server are another's, of flows called as ours are."""
        called = DeploymentFilter(name=DeploymentFilterName(any_=[self.deployment(name) for name in names]))
        alike = FlowFilter(name=FlowFilterName(any_=[FLOW + flow for flow in set(names.values())]))
        found = paged(client.read_deployments, deployment_filter=called, flow_filter=alike)
        return [each.name async for each in found if self.mark not in each.tags]


async def paged(
    read: Callable[..., Awaitable[list[Item]]], *, most: int = sys.maxsize, **asked: Any
) -> AsyncIterator[Item]:
    """What a server gives by pages: all of it, or the first so many."""
    offset, full = 0, True
    while full and offset < most:
        wanted = min(PAGE, most - offset)
        page = await read(limit=wanted, offset=offset, **asked)
        for item in page:
            yield item
        offset, full = offset + wanted, len(page) == wanted
