"""From the broker to Postgres: one message is one commit, and acknowledged after it."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from time import monotonic, perf_counter
from typing import Final

import structlog

from flows.process import lifecycle, stores
from flows.process.counting import metrics
from flows.process.retry import must_wait, without_end
from flows.triggers.shown import Shown
from infra.metrics import Committed
from infra.metrics import Outcome as Status
from infra.mqtt.session import Session
from infra.settings import Settings
from lineage.errors import DataError, HeadwaterError
from tasks.extract.mqtt import MqttSource, open_session
from tasks.extract.trigger_messages import Delivered, messages
from tasks.load.store import Store
from tasks.load.trigger_events import Outcome, TriggerPlan, acknowledged, commit_message
from tasks.look import sessions
from tasks.transform.event import judge
from tasks.trigger import Message, Refused, Trigger, Verdict

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = 1.0  # seconds between two looks at the connection
PRESENT_EVERY: Final = 60.0  # seconds between two notes that we are there
_STATUS: Final[Mapping[Outcome, Status]] = {
    "event": Status.ACCEPTED,
    "rejected": Status.REJECTED,
    "key": Status.DUPLICATE,
    "repeat": Status.DUPLICATE,
    "rejected before": Status.DUPLICATE,
    "retained": Status.FILTERED,
}
"""What the ledger counts a message as."""


def source_of(settings: Settings, trigger: Trigger) -> MqttSource:
    """The trigger's subscription, with a client id of its own; raises UnavailableError."""
    broker = stores.mqtt(settings, trigger.when.connection)
    client_id = f"{settings.client_id}-trigger.{trigger.name}"  # a pipeline's has no dot
    return MqttSource(
        topic=trigger.when.topic,
        connection=trigger.when.connection,
        url=broker.url,
        tls=broker.tls,
        client_id=client_id,
    )


class Receiver:
    """Commits what comes; `event` is called after each commit of an event."""

    def __init__(
        self, source: MqttSource, store: Store, plan: TriggerPlan, shown: Shown, event: Callable[[], None]
    ) -> None:
        self._source, self._store, self._plan, self._trigger = source, store, plan, plan.trigger
        self._shown, self._event = shown, event
        self._what = f"trigger {plan.trigger.name}"
        self._present_at = float("-inf")

    async def run(self) -> None:
        """Take every message, without end; raises RejectedError when the broker refuses us."""
        known = await without_end(self._enter, what=self._what)
        async with open_session(self._source, expected=known) as session:
            await lifecycle.together(self._take_all(session), self._watch(session))

    async def _enter(self) -> bool:
        return await sessions.enter(self._store.pool, self._source.client_id, self._trigger.reader)

    async def _take_all(self, session: Session) -> None:
        async with aclosing(messages(self._source, session)) as coming:
            async for delivered in coming:
                await self.take(delivered)

    async def take(self, delivered: Delivered) -> None:
        """Commit a message, then acknowledge it."""
        message = delivered.message
        began = perf_counter()
        outcome = await self._commit(message, judge(self._trigger, message.topic, message.payload))
        self._count(message, outcome, timedelta(seconds=perf_counter() - began))
        log.info("message committed", trigger=self._trigger.name, topic=message.topic, outcome=outcome)
        if outcome in ("event", "committed before"):
            self._event()
        if await delivered.acknowledge():
            await self._forget()

    def _count(self, message: Message, outcome: Outcome, took: timedelta) -> None:
        """As a record of a source of the trigger's name; not one that was committed before."""
        if outcome == "committed before":
            return
        became = {status: int(status is _STATUS[outcome]) for status in Status}
        metrics().committed(
            self._trigger.reader,
            Committed(
                messages=1,
                size_bytes=len(message.payload),
                accepted=became[Status.ACCEPTED],
                rejected=became[Status.REJECTED],
                duplicates=became[Status.DUPLICATE],
                filtered=became[Status.FILTERED],
                commit=took,
                received_at=message.raw.received_at,
                committed_at=datetime.now(UTC),
            ),
        )

    async def _commit(self, message: Message, verdict: Verdict) -> Outcome:
        """Try without end while Postgres is away; what it refuses for its values is rejected."""
        try:
            return await without_end(lambda: self._once(message, verdict), what=self._what, when=must_wait)
        except DataError as error:
            refused = Refused(rules=("load.refused",), message=str(error))
            return await without_end(lambda: self._once(message, refused), what=self._what, when=must_wait)

    async def _once(self, message: Message, verdict: Verdict) -> Outcome:
        async with self._store.work() as session:
            return await commit_message(session, self._plan, message, verdict)

    async def _forget(self) -> None:
        """The broker has every acknowledgement: what is kept against a repeat is not needed any more."""
        try:
            async with self._store.work() as session:
                await acknowledged(session.connection, self._source.client_id)
        except HeadwaterError as error:  # it does no harm until the next one
            log.debug("not forgotten", trigger=self._trigger.name, reason=str(error))

    async def _watch(self, session: Session) -> None:
        """Show how the broker is, and now and then in Postgres that we are there."""
        while True:
            connected = session.connection is not None and session.connection.lost is None
            self._shown.receiving("listening" if connected else "waiting for the broker")
            if monotonic() - self._present_at > PRESENT_EVERY:
                self._present_at = monotonic()
                with suppress(HeadwaterError):  # shown the next time
                    await sessions.seen(self._store.pool, self._source.client_id)
            await asyncio.sleep(LOOK_EVERY)
