"""The kinds of source that `headwater listen` runs, each as one port: how it opens, shows itself and leaves.

A new kind is a class here and its line in `STREAMS`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

import structlog

from flows.catalog import Catalog, Pipeline
from flows.process import stores
from flows.process.retry import Result, must_wait, without_end
from infra.kafka import Consumer
from infra.metrics import Metrics
from infra.mqtt.session import Session
from infra.postgres import Pool
from infra.settings import Settings
from lineage.errors import ContractError, HeadwaterError, SettingsError, UnavailableError
from tasks.batch import Position, RawBatch
from tasks.extract.file_watch import FileWatch
from tasks.extract.files import FileOptions, FileSource
from tasks.extract.follow_watch import FollowWatch
from tasks.extract.kafka import KafkaOptions, KafkaReader, Offsets
from tasks.extract.mqtt import MqttOptions, MqttSource, batches, drain, open_session
from tasks.extract.recognise import Kept
from tasks.load import followed, offsets
from tasks.load.ledger import committed_positions
from tasks.load.plan import LoadPlan
from tasks.load.store import Store
from tasks.look.not_taken import tell_not_taken

log = structlog.get_logger(__name__)


class Stream(Protocol):
    """A source that gives batches without end."""

    connections: int  # to Postgres: how many batches are written at a time
    at_once: int  # batches between reading and acknowledgement; 1: strictly one after the other
    in_order: bool  # of several, each is committed after the one before it
    client_id: str | None  # under which a broker keeps what we miss; None: nobody keeps anything for us

    def open(self, *, known: bool, leave: bool) -> AbstractAsyncContextManager[AsyncIterator[RawBatch]]:
        """Its batches; `known`: an earlier process read as us; `leave`: what is kept for us, then no more."""
        ...

    def show(self, metrics: Metrics, source: str) -> str:
        """Set its metrics; returns what it is doing."""
        ...


class MqttStream:
    """Messages of a broker's subscription."""

    connections = 1
    at_once = 2  # one is refined while the one before it is written
    in_order = True  # of two values for one key the first one received stands

    def __init__(
        self, settings: Settings, pipeline: Pipeline, _plan: LoadPlan, _store: Store, client_id: str
    ) -> None:
        assert isinstance(pipeline.source, MqttOptions)  # noqa: S101 - STREAMS chose us by it
        broker = stores.mqtt(settings, pipeline.source.connection)
        options = pipeline.source.model_dump()
        self.client_id: str | None = client_id
        self._source = MqttSource(**options, url=broker.url, tls=broker.tls, client_id=client_id)
        self._session: Session | None = None

    @asynccontextmanager
    async def open(self, *, known: bool, leave: bool) -> AsyncIterator[AsyncIterator[RawBatch]]:
        async with open_session(self._source, expected=known) as session:
            self._session, self._counted = session, replace(session.numbers)
            yield (drain if leave else batches)(self._source, session, self._source.dataset)

    def show(self, metrics: Metrics, source: str) -> str:
        session = self._session
        assert session is not None  # noqa: S101 - shown while it is open
        counted, numbers, connection = self._counted, session.numbers, session.connection
        connected = connection is not None and connection.lost is None
        oldest = session.oldest_unacknowledged(asyncio.get_running_loop().time())
        metrics.listener_up.labels(source).set(connected)
        metrics.unacknowledged_messages.labels(source).set(session.unacknowledged)
        metrics.unacknowledged_oldest_seconds.labels(source).set(oldest)
        metrics.mqtt_sessions_lost_total.labels(source).inc(numbers.sessions_lost - counted.sessions_lost)
        metrics.mqtt_reconnects_total.labels(source).inc(numbers.reconnects - counted.reconnects)
        metrics.mqtt_qos0_messages_total.labels(source).inc(numbers.qos0 - counted.qos0)
        self._counted = replace(numbers)
        return "listening" if connected else "waiting for the broker"


class FileStream:
    """Files of a folder."""

    client_id: str | None = None

    def __init__(
        self, settings: Settings, pipeline: Pipeline, plan: LoadPlan, store: Store, _client_id: str
    ) -> None:
        source = _folder_of(settings, pipeline)
        self.connections = source.connections
        self.at_once = source.connections + 1  # one is read and refined while the others are written
        self.in_order = source.connections == 1  # then of two values for one key the first one read stands
        self._plan, self._store = plan, store
        self._watch = FileWatch(
            source, self._uncommitted, lambda found: _told(store.pool, pipeline.name, found)
        )

    @asynccontextmanager
    async def open(self, *, known: bool, leave: bool) -> AsyncIterator[AsyncIterator[RawBatch]]:
        async with aclosing(self._watch.batches()) as coming:
            yield coming

    async def _uncommitted(self, positions: Sequence[Position]) -> Sequence[bool]:
        ids = [self._plan.id_of(position) for position in positions]
        known = await _asked(lambda: committed_positions(self._store.pool, ids), "ledger")
        return [id_ not in known for id_ in ids]

    def show(self, metrics: Metrics, source: str) -> str:
        return _show_folder(metrics, source, len(self._watch.not_taken))


class FollowStream:
    """Files of a folder that grow."""

    connections = 1
    at_once = 2  # one is refined while the one before it is written
    in_order = True  # a batch begins where the one before it ended
    client_id: str | None = None

    def __init__(
        self, settings: Settings, pipeline: Pipeline, _plan: LoadPlan, store: Store, _client_id: str
    ) -> None:
        source = _folder_of(settings, pipeline)
        pool, name = store.pool, pipeline.name
        kept = Kept(
            followed=lambda: _asked(lambda: followed.followed(pool, name), "followed files"),
            find=lambda *what: _asked(lambda: followed.find(pool, name, *what), "followed files"),
            begin=lambda new: _asked(lambda: followed.begin(pool, name, new), "followed files"),
            seen=lambda *what: _asked(lambda: followed.seen(pool, *what), "followed files"),
            left=lambda file: _asked(lambda: followed.left(pool, file), "followed files"),
        )
        self._watch = FollowWatch(source, kept, lambda found: _told(pool, name, found))

    @asynccontextmanager
    async def open(self, *, known: bool, leave: bool) -> AsyncIterator[AsyncIterator[RawBatch]]:
        async with aclosing(self._watch.batches()) as coming:
            yield coming

    def show(self, metrics: Metrics, source: str) -> str:
        return _show_folder(metrics, source, len(self._watch.not_taken))


def _folder_of(settings: Settings, pipeline: Pipeline) -> FileSource:
    """The pipeline's folder, which is there now."""
    assert isinstance(pipeline.source, FileOptions)  # noqa: S101 - STREAMS chose its stream by it
    source = FileSource(**pipeline.source.model_dump(exclude_unset=True), root=settings.files_directory)
    source.inbox.mkdir(parents=True, exist_ok=True)
    return source


def _show_folder(metrics: Metrics, source: str, left: int) -> str:
    metrics.listener_up.labels(source).set(1)
    metrics.files_not_taken.labels(source).set(left)
    return f"listening, {left} in the folder not taken" if left else "listening"


async def _told(pool: Pool, pipeline: str, not_taken: Mapping[str, str]) -> None:
    try:
        await tell_not_taken(pool, pipeline, not_taken)
    except HeadwaterError as error:  # told again within a minute; it must not hold up the files
        log.warning("not told of files that are not taken", reason=str(error))


def _files(settings: Settings, pipeline: Pipeline, plan: LoadPlan, store: Store, client_id: str) -> Stream:
    """Files that are read as a whole and archived, or followed."""
    assert isinstance(pipeline.source, FileOptions)  # noqa: S101 - STREAMS chose us by it
    kind = FollowStream if pipeline.source.follow else FileStream
    return kind(settings, pipeline, plan, store, client_id)


class KafkaStream:
    """Messages of a topic."""

    connections = 1
    at_once = 2  # one is refined while the one before it is written
    in_order = True  # a batch begins where the one before it ended
    client_id: str | None = None

    def __init__(
        self, settings: Settings, pipeline: Pipeline, _plan: LoadPlan, store: Store, client_id: str
    ) -> None:
        assert isinstance(pipeline.source, KafkaOptions)  # noqa: S101 - STREAMS chose us by it
        self._source, self._name = pipeline.source, pipeline.name
        self._address, self._member = stores.kafka(settings, pipeline.source.connection), client_id
        self._pool = store.pool
        self._consumer: Consumer | None = None

    @asynccontextmanager
    async def open(self, *, known: bool, leave: bool) -> AsyncIterator[AsyncIterator[RawBatch]]:
        source, pool, key = self._source, self._pool, (self._name, self._source.named_topic)
        kept = Offsets(
            started=lambda: _asked(lambda: offsets.started(pool, *key), "offsets"),
            start=lambda ends: _asked(lambda: offsets.start(pool, *key, ends), "offsets"),
            read=lambda: _asked(lambda: offsets.next_offsets(pool, *key), "offsets"),
            begin=lambda *at: _asked(lambda: offsets.begin(pool, *key, *at), "offsets"),
            reset=lambda *at: _asked(lambda: offsets.reset(pool, *key, *at), "offsets"),
        )
        group = source.group or f"headwater-{self._name}"
        consumer = Consumer(
            self._address, source.topic, group, self._member, session_timeout=source.session_timeout
        )
        self._consumer, reader = consumer, KafkaReader(source, consumer, kept)
        try:
            async with aclosing(reader.batches()) as coming:
                yield coming
        finally:
            await asyncio.to_thread(consumer.close)

    def show(self, metrics: Metrics, source: str) -> str:
        assert self._consumer is not None  # noqa: S101 - shown while it is open
        connected = self._consumer.reason is None
        metrics.listener_up.labels(source).set(connected)
        if self._consumer.topic_is_missing:
            return "waiting for the topic"
        return "listening" if connected else "waiting for the broker"


async def _asked(ask: Callable[[], Awaitable[Result]], what: str) -> Result:
    """Postgres's answer, however long it is away or broken: the source keeps what is not read."""
    return await without_end(ask, what=what, when=must_wait)


Kind = Callable[[Settings, Pipeline, LoadPlan, Store, str], Stream]
"""Made with the client id that it has at a broker."""

STREAMS: Mapping[type[Any], Kind] = {
    MqttOptions: MqttStream,
    FileOptions: _files,
    KafkaOptions: KafkaStream,
}


def streams_of(settings: Settings, catalog: Catalog) -> tuple[list[Pipeline], dict[str, str]]:
    """Every stream whose broker is known, and why another is not run, by its name."""
    streams, not_run = [], {}
    for pipeline in catalog.pipelines.values():
        if type(pipeline.source) not in STREAMS:
            continue
        try:
            _find_broker(settings, pipeline)
            streams.append(pipeline)
        except (SettingsError, UnavailableError) as error:
            not_run[pipeline.name] = str(error)
    return streams, not_run


def _find_broker(settings: Settings, pipeline: Pipeline) -> None:
    """Raise UnavailableError or SettingsError, which say why it is not known where the broker is."""
    match pipeline.source:
        case MqttOptions(connection=named):
            stores.mqtt(settings, named)
        case KafkaOptions(connection=named):
            stores.kafka(settings, named)


def kind_of(pipeline: Pipeline) -> Kind:
    """How to make the pipeline's stream; raises ContractError if it has none."""
    kind = STREAMS.get(type(pipeline.source))
    if kind is None:
        raise ContractError(f"{pipeline.name} is no stream: run it with `headwater run {pipeline.name}`.")
    return kind
