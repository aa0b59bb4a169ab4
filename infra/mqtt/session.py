"""A persistent MQTT session: one client id over as many connections as it takes.

The broker keeps what was not acknowledged while we are away (clean session off). A session that should
be there and is not means that messages are gone: that is counted and logged.
"""

import ssl
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog

from infra.mqtt.address import SYSTEM, Address, Tls
from infra.mqtt.connection import Connection, Limits, Numbers

log = structlog.get_logger(__name__)


class Session:
    """One client id and its one subscription.

    `repeat_window`: how long after a connection to a session that was there before (or after a reconnect)
    every message counts as a possible repeat, flag or not. A broker that obeys the standard marks what it
    sends again with DUP, and sends it first; one that was killed may have forgotten what it sent and what
    we acknowledged, and repeats that without DUP, also first. Afterwards only marked messages count.
    `expected`: this client id has been connected by an earlier process, so its session should be there.
    Changing the filter of a client id leaves the old subscription in the session: end it first.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        topic_filter: str,
        *,
        keepalive: timedelta = timedelta(seconds=60),
        limits: Limits | None = None,
        repeat_window: timedelta = timedelta(seconds=10),
        tls: Tls = SYSTEM,
        expected: bool = False,
    ) -> None:
        self.address = Address.parse(url)
        self.client_id = client_id
        self.topic_filter = topic_filter
        self.numbers = Numbers()
        self.connection: Connection | None = None
        self._context: ssl.SSLContext | None = self.address.context(tls)
        self._keepalive = keepalive
        self._limits = limits or Limits()
        self._repeat_window = repeat_window
        self._expected = expected

    async def connect(self, *, subscribe: bool = True) -> Connection:
        """Connect, and subscribe at QoS 1; the connection before it must be lost or closed.

        Raises UnavailableError (try again), or RejectedError (credentials, access rules, QoS 0).
        """
        again = self.numbers.connects > 0
        connection = await self._open(clean=False, again=again)
        self.numbers.reconnects += again
        try:
            self._check(connection)
            if subscribe:
                await connection.subscribe(self.topic_filter)
        except BaseException:
            connection.abort("the subscription did not succeed")
            raise
        self.connection = connection
        log.info(
            "mqtt connected",
            broker=str(self.address),
            client_id=self.client_id,
            session_present=connection.session_present,
        )
        return connection

    async def close(self) -> None:
        """Disconnect; the broker goes on keeping messages for this client id."""
        if self.connection is not None:
            await self.connection.close()

    async def end(self) -> None:
        """Have the broker forget this client id, its subscription and whatever it keeps for it (3.1.2.4)."""
        await self.close()
        connection = await self._open(clean=True, again=True)
        await connection.close()
        self._expected = False

    @property
    def unacknowledged(self) -> int:
        """Messages received on the standing connection and not acknowledged."""
        return self.connection.unacknowledged if self.connection is not None else 0

    def oldest_unacknowledged(self, now: float) -> float:
        """Age of the oldest such message in seconds at `now`, the event loop's time; 0 if there is none."""
        oldest = self.connection.oldest_unacknowledged if self.connection is not None else None
        return now - oldest if oldest is not None else 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self, *, clean: bool, again: bool) -> Connection:
        return await Connection.open(
            self.address,
            self.client_id,
            clean_session=clean,
            keepalive=self._keepalive,
            context=self._context,
            limits=self._limits,
            numbers=self.numbers,
            repeat_window=self._repeat_window,
            again=again,
        )

    def _check(self, connection: Connection) -> None:
        if self._expected and not connection.session_present:
            self.numbers.sessions_lost += 1
            log.warning(
                "mqtt session lost: the broker forgot this client id and what it kept for it; "
                "let it keep persistent sessions, also over a restart",
                broker=str(self.address),
                client_id=self.client_id,
            )
        self._expected = True
