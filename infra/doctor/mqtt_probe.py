"""What `doctor` wants to know of a broker, found by trying: does it keep what comes while we are away?"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from infra.mqtt.address import SYSTEM, Address, Tls
from infra.mqtt.client import Publisher
from infra.mqtt.connection import Connection
from lineage.errors import HeadwaterError, RejectedError

MESSAGES = 1_500  # more than the 1,000 that Mosquitto queues by default
_VERSION = "$SYS/broker/version"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """The outcome; `findings` holds one sentence for each thing that would lose or hold back messages."""

    address: str  # without user and password
    reachable: bool
    version: str | None = None  # as the broker tells it, if it does
    session_kept: bool = False  # the session was there again on the next connection
    published: int = 0  # to a subscriber that was away
    returned: int = 0  # different messages that it then received
    in_flight: int = 0  # sent without waiting for an acknowledgement
    findings: tuple[str, ...] = ()


async def probe(url: str, *, messages: int = MESSAGES, tls: Tls = SYSTEM) -> BrokerFacts:
    """Publish to a subscriber that is away, and count what it gets on its return; some seconds at most.

    It leaves nothing behind: its client id and topic are new and its session is ended. Raises only
    SettingsError (the URL); what the broker does wrong is a finding.
    """
    address = Address.parse(url)
    try:
        version = await _version(address, tls)
    except HeadwaterError as error:
        return BrokerFacts(address=str(address), reachable=False, findings=(str(error),))
    try:
        return await _try(url, address, version, messages, tls)
    except HeadwaterError as error:
        return BrokerFacts(address=str(address), reachable=True, version=version, findings=(str(error),))


async def _version(address: Address, tls: Tls) -> str | None:
    """The broker's own words (retained under $SYS), or None if it says nothing within a second."""
    connection = await _open(address, f"headwater-probe-{uuid4().hex[:12]}", tls, clean=True)
    try:
        await connection.subscribe(_VERSION)
        await connection.buffered(1, 1, 1.0)
        delivery = connection.take(1, 1)
    except RejectedError:  # it does not let us read $SYS
        return None
    finally:
        await connection.close()
    return delivery.publishes.payloads[0].decode(errors="replace") if delivery is not None else None


async def _try(url: str, address: Address, version: str | None, messages: int, tls: Tls) -> BrokerFacts:
    client_id = f"headwater-probe-{uuid4().hex[:12]}"
    topic = f"headwater/probe/{client_id}"
    away = await _open(address, client_id, tls)
    try:
        await away.subscribe(topic)
        await away.close()
        async with Publisher(url, tls=tls, patience=timedelta(seconds=10)) as publisher:
            await publisher.publish_many((topic, str(number).encode()) for number in range(messages))
        back = await _open(address, client_id, tls)
        in_flight, seen = await _receive(back, messages)
        await back.close()
    finally:
        ending = await _open(address, client_id, tls, clean=True)
        await ending.close()
    return BrokerFacts(
        address=str(address),
        reachable=True,
        version=version,
        session_kept=back.session_present,
        published=messages,
        returned=len(seen),
        in_flight=in_flight,
        findings=tuple(_findings(back.session_present, messages, len(seen), in_flight)),
    )


async def _receive(connection: Connection, messages: int) -> tuple[int, set[bytes]]:
    """How many come before the first acknowledgement, and all that come."""
    await _gather(connection, messages)
    in_flight, seen = connection.received, set[bytes]()
    while (delivery := connection.take(messages, 1 << 30)) is not None:
        seen.update(delivery.publishes.payloads)
        delivery.acknowledge()
        await connection.ping()  # the broker has handled the acknowledgement, and sent what it lets through
        if len(seen) < messages:
            await connection.buffered(1, 1, 0.5)
    return in_flight, seen


async def _gather(connection: Connection, messages: int) -> None:
    """Wait until so many are here or nothing came for half a second."""
    before = -1
    while connection.lost is None and before != connection.received < messages:
        before = connection.received
        await connection.buffered(messages, 1 << 30, 0.5)


def _findings(session_kept: bool, published: int, returned: int, in_flight: int) -> list[str]:
    if not session_kept:
        return [
            "the broker forgot a persistent session: what comes while we are away is lost; let it keep them."
        ]
    findings = []
    if returned < published:
        findings.append(
            f"of {published:,} messages to a subscriber that was away {published - returned:,} are lost; "
            "raise the broker's queue (Mosquitto: max_queued_messages 0, max_queued_bytes 0)."
        )
    if in_flight < min(returned, published):
        findings.append(
            f"the broker sends {in_flight:,} messages and waits for their acknowledgement, which slows down "
            "whoever acknowledges after a commit; raise it (Mosquitto: max_inflight_messages 60000)."
        )
    return findings


async def _open(address: Address, client_id: str, tls: Tls, *, clean: bool = False) -> Connection:
    context = address.context(tls)
    return await Connection.open(address, client_id, clean_session=clean, context=context)
