"""The messages of a trigger one by one, each with what the broker said of its delivery.

One message is one commit: each leads to a flow run, beside which a commit costs nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple
from uuid import uuid4

from infra.mqtt.connection import Delivery
from infra.mqtt.frames import DUP, RETAIN
from infra.mqtt.session import Session
from lineage.errors import UnavailableError
from tasks.extract.mqtt import MqttSource, batch_of, deliveries
from tasks.trigger import Message

CONFIRM_WITHIN: Final = 1.0  # seconds for the broker to say that it has our acknowledgement

Acknowledge = Callable[[], Awaitable[bool]]
"""Acknowledges a message; whether the broker is known to have all acknowledgements, and nothing is open."""


class Delivered(NamedTuple):
    """A message, and how it is acknowledged once it is committed."""

    message: Message
    acknowledge: Acknowledge


async def messages(source: MqttSource, session: Session) -> AsyncGenerator[Delivered, None]:
    """Without end, in order of receipt; the caller closes the session.

    Raises RejectedError when the broker refuses us or our subscription.
    """
    alone = source.model_copy(update={"max_messages": 1})
    async for delivery in deliveries(alone, session):
        yield Delivered(_message(delivery, alone), _acknowledge(delivery))


def _message(delivery: Delivery, source: MqttSource) -> Message:
    publishes = delivery.publishes
    (payload,), (header,), (packet_id,) = publishes.payloads, publishes.headers, publishes.packet_ids
    raw = batch_of(delivery, source.dataset)
    return Message(
        id=uuid4(),
        raw=raw,
        topic=raw.messages["location"].item(),
        payload=payload,
        client_id=source.client_id,
        packet_id=packet_id,
        # a broker that has no session of before has not delivered anything before
        repeated=bool(header & DUP) and delivery.connection.session_present,
        retained=bool(header & RETAIN),
    )


def _acknowledge(delivery: Delivery) -> Acknowledge:
    connection = delivery.connection

    async def acknowledge() -> bool:
        delivery.acknowledge()
        if connection.unacknowledged:
            return False
        with suppress(TimeoutError, UnavailableError):
            async with asyncio.timeout(CONFIRM_WITHIN):
                await connection.ping()  # it is answered once what was sent before is handled
                return connection.unacknowledged == 0
        return False

    return acknowledge
