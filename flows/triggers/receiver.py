"""From the broker to Postgres: one message is one commit, and acknowledged after it."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from time import monotonic
from typing import Final

import structlog

from flows.process import lifecycle, stores
from flows.process.retry import must_wait, without_end
from flows.triggers.shown import Shown
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
        outcome = await self._commit(message, judge(self._trigger, message.topic, message.payload))
        log.info("message committed", trigger=self._trigger.name, topic=message.topic, outcome=outcome)
        if outcome in ("event", "committed before"):
            self._event()
        if await delivered.acknowledge():
            await self._forget()

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
