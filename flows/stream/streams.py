"""What `headwater listen` gives a stream that it opens, and how the stream is shown.

Which streams there are, and how each reads: `tasks/extract/stream.py`, and the classes that keep its port.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from flows.catalog import Catalog, Pipeline
from flows.process import stores
from flows.process.retry import Result, must_wait, without_end
from infra.metrics import Metrics
from infra.postgres import Pool
from infra.settings import Settings
from lineage.errors import ContractError, HeadwaterError, SettingsError, UnavailableError
from tasks.batch import Position
from tasks.extract.progress import Progress
from tasks.extract.stream import Listening, Places, Shown, Stream
from tasks.followed import Followed
from tasks.load import followed, progress
from tasks.load.ledger import committed_positions
from tasks.load.plan import LoadPlan
from tasks.look.not_taken import tell_not_taken

log = structlog.get_logger(__name__)


def stream_of(pipeline: Pipeline) -> Stream:
    """The pipeline's source; raises ContractError if it is no stream."""
    if not isinstance(pipeline.source, Stream):
        raise ContractError(f"{pipeline.name} is no stream: run it with `headwater run {pipeline.name}`.")
    return pipeline.source


def streams_of(settings: Settings, catalog: Catalog) -> tuple[list[Pipeline], dict[str, str]]:
    """Every stream of which it is known where it is, and why another is not run, by its name."""
    streams, not_run, places = [], {}, places_of(settings)
    for pipeline in catalog.pipelines.values():
        if not isinstance(pipeline.source, Stream):
            continue
        try:
            pipeline.source.find(places)
            streams.append(pipeline)
        except (SettingsError, UnavailableError) as error:
            not_run[pipeline.name] = str(error)
    return streams, not_run


def places_of(settings: Settings) -> Places:
    """Where services are, by the settings."""
    return Places(
        url=lambda named: stores.connection(settings, named),
        mqtt=lambda named: stores.mqtt(settings, named),
        kafka=lambda named: stores.kafka(settings, named),
        files=settings.files_directory,
    )


def listening_of(
    settings: Settings, pipeline: Pipeline, plan: LoadPlan, pool: Pool, client_id: str
) -> Listening:
    """What a pipeline's stream is given; what it asks of Postgres is tried again without end."""
    name, dataset = pipeline.name, stream_of(pipeline).dataset

    async def uncommitted(positions: Sequence[Position]) -> Sequence[bool]:
        ids = [plan.id_of(position) for position in positions]
        known = await _asked(lambda: committed_positions(pool, ids), "ledger")
        return [id_ not in known for id_ in ids]

    return Listening(
        pipeline=name,
        dataset=dataset,
        client_id=client_id,
        places=places_of(settings),
        progress=_progress(pool, name, dataset),
        followed=_followed(pool, name, dataset),
        uncommitted=uncommitted,
        tell=lambda not_taken: _told(pool, name, not_taken),
    )


def _progress(pool: Pool, pipeline: str, dataset: str) -> Progress:
    return Progress(
        read=lambda: _asked(lambda: progress.marks(pool, pipeline, dataset), "progress"),
        begin=lambda begun: _asked(lambda: progress.begin(pool, pipeline, dataset, begun), "progress"),
        go_on=lambda at: _asked(lambda: progress.go_on(pool, pipeline, dataset, at), "progress"),
    )


def _followed(pool: Pool, pipeline: str, dataset: str) -> Followed:
    what = "followed files"
    return Followed(
        all=lambda: _asked(lambda: followed.followed(pool, pipeline, dataset), what),
        find=lambda *place: _asked(lambda: followed.find(pool, pipeline, dataset, *place), what),
        begin=lambda new: _asked(lambda: followed.begin(pool, pipeline, new), what),
        seen=lambda *seen: _asked(lambda: followed.seen(pool, *seen), what),
        left=lambda file: _asked(lambda: followed.left(pool, file), what),
    )


async def _told(pool: Pool, pipeline: str, not_taken: Mapping[str, str]) -> None:
    try:
        await tell_not_taken(pool, pipeline, not_taken)
    except HeadwaterError as error:  # told again within a minute; it must not hold up the files
        log.warning("not told of files that are not taken", reason=str(error))


async def _asked(ask: Callable[[], Awaitable[Result]], what: str) -> Result:
    """Postgres's answer, however long it is away or broken: the source keeps what is not read."""
    return await without_end(ask, what=what, when=must_wait)


class Showing:
    """A stream's metrics, from what it shows of itself."""

    def __init__(self, metrics: Metrics, source: str) -> None:
        self._metrics, self._source, self._before = metrics, source, Shown()

    def show(self, shown: Shown) -> str:
        """Set its metrics; returns what it is doing."""
        metrics, source, before = self._metrics, self._source, self._before
        for gauge, value in (
            (metrics.listener_up, shown.connected),
            (metrics.unacknowledged_messages, shown.unacknowledged),
            (metrics.unacknowledged_oldest_seconds, shown.oldest),
            (metrics.files_not_taken, shown.not_taken),
        ):
            if value is not None:
                gauge.labels(source).set(value)
        for counter, more in (
            (metrics.mqtt_sessions_lost_total, shown.sessions_lost - before.sessions_lost),
            (metrics.mqtt_reconnects_total, shown.reconnects - before.reconnects),
            (metrics.mqtt_qos0_messages_total, shown.unprotected - before.unprotected),
        ):
            counter.labels(source).inc(more)
        self._before = shown
        return shown.doing
