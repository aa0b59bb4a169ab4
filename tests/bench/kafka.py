"""A topic drained by one listener, everything on, against a bare consumer and against MQTT.

The topic is filled once: where a reader begins is in Postgres, or in its group, and both are new each round.
"""

from collections.abc import AsyncIterator, Sequence

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.postgres import connect
from tasks.extract.kafka import KafkaOptions
from tests.bench.figure import Figure, figure, in_turns
from tests.bench.mqtt import OURS, Stream
from tests.bench.readings import payloads, readings
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.bench.wire import Message
from tests.fixtures.catalogs import pipeline

PIPELINE = "sensors-kafka"
PARTITIONS = 4
WINDOW = 50_000  # messages on their way to the broker
AGAINST = "a bare confluent-kafka consumer that only commits offsets"


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """Messages a second: ours, the bare consumer's, and ours of the same messages over MQTT."""
    messages = payloads(readings(sizes.messages))
    topic = _filled(services, messages)
    stream = Stream(services, messages)

    async def over_mqtt() -> float:
        stream.fill(OURS)
        return (await stream.ours())[0]

    ours, bare, mqtt = await in_turns(
        sizes.rounds,
        lambda: _ours(services, stream),
        lambda: _bare(services, topic, sizes.messages),
        over_mqtt,
    )
    yield figure("kafka", ours, "messages/s", reference=bare, against=AGAINST, target="≥ 0.3")
    against = "the same messages over MQTT"
    yield figure("kafka to mqtt", ours, "messages/s", reference=mqtt, against=against, target="≥ 1")


def _filled(services: Services, messages: Sequence[Message]) -> str:
    """The pipeline's topic, made anew; a device's messages are all in one partition."""
    source = pipeline(PIPELINE).source
    assert isinstance(source, KafkaOptions)
    servers = {"bootstrap.servers": services.kafka.url.removeprefix("kafka://")}
    admin = AdminClient(servers)  # it must outlive its answers
    admin.create_topics([NewTopic(source.topic, PARTITIONS, 1)])[source.topic].result(30)
    producer = Producer({**servers, "queue.buffering.max.messages": 2 * WINDOW, "linger.ms": 20})
    for number, (_, payload) in enumerate(messages):
        producer.produce(source.topic, payload, partition=number % PARTITIONS)
        if number % WINDOW == 0:
            producer.flush()
    if producer.flush(60):
        raise RuntimeError("the Kafka broker did not take all messages")
    return source.topic


async def _ours(services: Services, stream: Stream) -> float:
    count = len(stream.messages)
    async with services.database() as dsn:
        found = await services.result("listener", PIPELINE, str(count), dsn=dsn)
        await stream.check(dsn)
        connection = await connect(dsn, application="bench")
        offsets = await connection.fetchval("SELECT sum(mark::bigint) FROM store.progress WHERE part <> ''")
        await connection.close()
    if offsets != count:
        raise RuntimeError(f"the offsets kept add up to {offsets}, not to {count}")
    return count / float(found["seconds"])


async def _bare(services: Services, topic: str, count: int) -> float:
    found = await services.result("kafka_loop", services.kafka.url, topic, str(count))
    return count / float(found["seconds"])
