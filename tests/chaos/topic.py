"""A producer of a Kafka topic. The broker keeps what it acknowledged, killed or not."""

import time
from functools import partial

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.chaos.publisher import Publisher
from tests.chaos.readings import Kind, Readings

TOPIC = "sensor-readings"
PARTITIONS = 4
REPEATED = 0.03  # the share of readings that are drawn to be produced twice


def make(port: int) -> None:
    """Make the topic."""
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(60)


class Topic(Publisher):
    """Produces with librdkafka's idempotence: tried again without end, written once."""

    def __init__(self, port: int, readings: Readings, rate: int) -> None:
        super().__init__(readings, rate)
        settings = {"bootstrap.servers": f"127.0.0.1:{port}", "enable.idempotence": True, "log_level": 0}
        self._producer = Producer({**settings, "message.timeout.ms": 0, "reconnect.backoff.max.ms": 1_000})
        self.records = 0  # acknowledged, repeated ones too
        self._left = 0

    def open(self) -> None: ...

    def close(self) -> None: ...

    def waiting(self) -> int:
        return self._left

    def burst(self, count: int) -> None:
        for _ in range(count):
            self._produce(self.next)
            self.next += 1
            if self._chance.random() < REPEATED:
                self._repeat(self._chance.randrange(self.readings.way.first, self.next))
        self._producer.poll(0)

    def _repeat(self, number: int) -> None:
        """Only what cannot be rejected: at another offset a rejected record is another one."""
        if self.readings.kind(number) is Kind.GOOD and not self.readings.has_rival(number):
            self._produce(number)

    def _produce(self, number: int) -> None:
        self._left += 1
        payload = self.readings.reading(number).payload
        self._producer.produce(TOPIC, payload, on_delivery=partial(self._delivered, number))

    def _delivered(self, number: int, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            raise RuntimeError(f"Kafka has refused reading {number}: {error}")
        self._left -= 1
        self.records += 1
        self.acknowledged[number] = time.time()
