"""A publisher with an outbox: what the broker acknowledged, and what it may have forgotten since.

Mosquitto killed with SIGKILL forgets what came after its last snapshot, acknowledged or not. So the publisher
keeps when each message was acknowledged, and publishes again what came after the snapshot.

Mosquitto 2.0 also forgets shared subscriptions when it restarts, in good order too: until a listener
subscribes again it drops what is published, and says so in the acknowledgement, where that is MQTT 5's.
That is published again as well.
"""

import time
from collections import deque
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from tests.chaos.publisher import Publisher
from tests.chaos.readings import Readings

REPEATED = 0.03  # the share of messages that are published twice
NO_SUBSCRIBERS = 0x10  # the reason in an acknowledgement, MQTT 5, 3.4.2.1
BURST = 500  # messages in flight: paho goes through all of them at each acknowledgement

Ack = tuple[int, int, float]
"""Packet id, reason, and when, seconds since 1970 UTC."""


class Outbox(Publisher):
    """Publishes to the broker at QoS 1."""

    def __init__(self, port: int, readings: Readings, rate: int) -> None:
        super().__init__(readings, rate)
        self.dropped = 0  # how often the broker said that nobody subscribes
        self._waiting: dict[int, int] = {}  # packet id → number
        self._said: deque[Ack | None] = deque()  # by paho's thread, in order; None: connected
        self._forgotten_after: float | None = None  # the snapshot of a broker that was killed
        self._everything = False  # is to be published again
        self._again: deque[int] = deque()
        self._client = Client(CallbackAPIVersion.VERSION2, "outbox", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(BURST)
        self._client.on_publish = self._on_publish
        self._client.on_connect = lambda *_: self._said.append(None)
        self._client.connect("127.0.0.1", port)

    def again_after(self, snapshot: float) -> None:
        """Once connected again, publish again what was acknowledged after the snapshot (s since 1970 UTC).

        Call it while the broker does not run. It writes its snapshot at one go, so what it acknowledged
        before that is in it. 0: it has forgotten everything.
        """
        earliest = self._forgotten_after
        self._forgotten_after = snapshot if earliest is None else min(earliest, snapshot)

    def all_again(self) -> None:
        """Publish again all that was ever published; a store may have lost what we cannot know."""
        self._everything = True

    def open(self) -> None:
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def waiting(self) -> int:
        left = len(self._waiting) + len(self._again) + len(self._said)
        return left + (self._forgotten_after is not None) + self._everything

    def burst(self, count: int) -> None:
        self._hear()
        if self._everything:
            self._everything = False
            # What is not acknowledged to us may be stored, and lost, already.
            self._again.extend({*self.acknowledged, *self._waiting.values()})
        for _ in range(min(len(self._again), BURST - len(self._waiting))):
            self._publish(self._again.popleft())
        if len(self._waiting) < 10 * BURST:
            self._publish_new(count)

    def _publish_new(self, count: int) -> None:
        for _ in range(count):
            self._publish(self.next)
            self.next += 1
            if self._chance.random() < REPEATED:
                self._publish(self._chance.randrange(self.next))

    def _publish(self, number: int) -> None:
        reading = self.readings.reading(number)
        sent = self._client.publish(reading.topic, reading.payload, qos=1)
        self._waiting[sent.mid] = number

    def _on_publish(self, _client: Client, _data: Any, packet: int, code: ReasonCode, _more: Any) -> None:
        self._said.append((packet, code.value, time.time()))

    def _hear(self) -> None:
        while self._said:
            ack = self._said.popleft()
            if ack is None:
                self._connected()
            else:
                self._acknowledged(*ack)

    def _connected(self) -> None:
        """All that the broker said before it was killed is heard."""
        after, self._forgotten_after = self._forgotten_after, None
        if after is not None:
            self._again.extend(number for number, at in self.acknowledged.items() if at > after)

    def _acknowledged(self, packet: int, reason: int, at: float) -> None:
        number = self._waiting.pop(packet)
        if reason == NO_SUBSCRIBERS:
            self.dropped += 1
            self._again.append(number)
        else:
            self.acknowledged[number] = at
