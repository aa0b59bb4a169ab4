"""The graph as a whole: made again from the record, and compared between two states."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flows import catalog, stores
from infra.settings import Settings
from lineage import diff, naming, relay
from lineage.errors import NotFoundError, RejectedError
from lineage.ports import Graph
from lineage.transformations import derivations

VERSIONS = "headwater query 'MATCH (t:Transformation) RETURN t.key'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changed, and the columns that are made of what changed."""

    changes: diff.Changes
    reached: Sequence[str]


async def rebuild(settings: Settings) -> int:
    """Empty the graph and carry the whole record to it; returns the entries carried."""
    async with (
        stores.open_connection(settings, "rebuild") as connection,
        stores.open_graph(settings) as graph,
    ):
        return await relay.rebuild(connection, graph)


async def difference(settings: Settings, before: str, after: str) -> Difference:
    """What changes from one state to another.

    A state is a time (ISO 8601), a version of a transformation (`readings@…`), or the name of a pipeline:
    what today's code would record. A version or a pipeline is compared in the datasets that it writes.
    """
    async with stores.open_graph(settings) as graph:
        states = [await _state(settings, graph, text) for text in (before, after)]
        for one, other in ((0, 1), (1, 0)):
            if _is_partial((before, after)[one]):
                states[other] = diff.within(states[other], states[one])
        changes = diff.compare(*states)
        return Difference(changes=changes, reached=await diff.reached(graph, changes.targets))


def _is_partial(state: str) -> bool:
    return state in catalog.pipelines() or "@" in state


async def _state(settings: Settings, graph: Graph, text: str) -> diff.Columns:
    if text in catalog.pipelines():
        return _of_code(settings, catalog.pipeline(text))
    if "@" in text:
        columns = await diff.columns_of(graph, text)
        if not columns:
            raise NotFoundError(f"The graph has no columns of {text!r}: `{VERSIONS}` lists the versions.")
        return columns
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        names = ", ".join(catalog.pipelines())
        raise RejectedError(f"{text!r} is neither a time, a version nor a pipeline ({names}).") from error
    return await diff.columns_at(graph, moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _of_code(settings: Settings, pipeline: catalog.Pipeline) -> diff.Columns:
    """What the pipeline's code says now, of the source its definition names, or of the settings' robots."""
    robots = [robot.name for robot in settings.robots] or ["robot"]
    transformation = pipeline.transformation()
    edges = [
        edge
        for dataset in pipeline.source.datasets(robots)
        for table, columns in pipeline.columns(dataset).items()
        for edge in derivations(
            transformation, naming.postgres(table), columns, run_id=None, now=datetime.now(UTC)
        )
    ]
    return diff.columns_from(edges)
