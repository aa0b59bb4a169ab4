"""The graph as a whole: made again from the record, and compared between two states."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.catalog import Catalog, Pipeline
from flows.process import stores
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


async def difference(settings: Settings, catalog: Catalog, before: str, after: str) -> Difference:
    """What changes from one state to another.

    A state is a time (ISO 8601), a version of a transformation (`sensors@…`), or the name of a pipeline:
    what today's code would record. With a version or a pipeline, only what the same transformation made at a
    time is compared; with a pipeline, only what comes from no other pipeline's source.
    """
    async with stores.open_graph(settings) as graph:
        states = [
            await _state(settings, catalog, graph, text, beside)
            for text, beside in ((before, after), (after, before))
        ]
        changes = diff.compare(*states)
        return Difference(changes=changes, reached=await diff.reached(graph, changes.targets))


async def _state(settings: Settings, catalog: Catalog, graph: Graph, text: str, beside: str) -> diff.Columns:
    """A state, as far as it can be compared with the one beside it."""
    known = catalog.pipelines
    if text not in known:
        columns = await _recorded(graph, catalog, text, beside)
        return await _without_others(graph, catalog, columns, beside) if beside in known else columns
    pipeline = known[text]
    read: set[str] = set()
    if beside not in known:
        found = await diff.sources(graph, await _recorded(graph, catalog, beside, text))
        read = {dataset for dataset in found.values() if pipeline.source.gives(dataset)}
    return _of_code(settings, pipeline, sorted(read))


async def _recorded(graph: Graph, catalog: Catalog, text: str, beside: str) -> diff.Columns:
    """The columns of a version, or those in force at a time."""
    if "@" in text:
        columns = await diff.columns_of(graph, text)
        if not columns:
            raise NotFoundError(f"The graph has no columns of {text!r}: `{VERSIONS}` lists the versions.")
        return columns
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        names = ", ".join(catalog.pipelines)
        raise RejectedError(f"{text!r} is neither a time, a version nor a pipeline ({names}).") from error
    at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    name = beside.rpartition("@")[0] or (beside if beside in catalog.pipelines else None)
    columns = await diff.columns_at(graph, at, name)
    if columns or name is None or name not in catalog.pipelines:
        return columns
    # before it was called like its pipeline it was called like its transform, as others' were
    before = await diff.columns_at(graph, at, catalog.pipelines[name].transform)
    return await _without_others(graph, catalog, before, name)


async def _without_others(graph: Graph, catalog: Catalog, columns: diff.Columns, name: str) -> diff.Columns:
    """Without what comes from the sources of other pipelines: their code may be the same."""
    datasets = await diff.sources(graph, columns)
    source = catalog.pipelines[name].source
    others = [each.source for each in catalog.pipelines.values() if each.name != name]

    def foreign(dataset: str) -> bool:
        return not source.gives(dataset) and any(other.gives(dataset) for other in others)

    return {pair: how for pair, how in columns.items() if not foreign(datasets[pair.source])}


def _of_code(settings: Settings, pipeline: Pipeline, read: Sequence[str]) -> diff.Columns:
    """What the pipeline's code says now of the datasets it read.

    If none is given, of the source its definition names, or of the settings' robots.
    """
    robots = [robot.name for robot in settings.robots] or ["robot"]
    transformation = pipeline.transformation()
    edges = [
        edge
        for dataset in read or pipeline.source.datasets(robots)
        for table, columns in pipeline.columns(dataset).items()
        for edge in derivations(
            transformation, naming.postgres(table), columns, run_id=None, now=datetime.now(UTC)
        )
    ]
    return diff.columns_from(edges)
