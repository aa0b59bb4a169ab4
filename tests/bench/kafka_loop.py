"""The reference of Kafka: a bare confluent-kafka consumer that only commits offsets, a batch at a time.

`python -m tests.bench.kafka_loop URL TOPIC MESSAGES` prints seconds and CPU seconds as JSON.
"""

import json
import sys
import time
from uuid import uuid4

from confluent_kafka import Consumer

BATCH = 20_000
"""As many messages as ours takes at once; one by one the consumer would be slower."""


def main(url: str, topic: str, wanted: int) -> None:
    began, cpu, received = time.perf_counter(), time.process_time(), 0
    consumer = Consumer(
        {
            "bootstrap.servers": url.removeprefix("kafka://"),
            "group.id": f"bench-{uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
    )
    consumer.subscribe([topic])
    while received < wanted:
        messages = consumer.consume(BATCH, 0.05)
        received += sum(message.error() is None for message in messages)
        if messages:
            consumer.commit(asynchronous=False)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    consumer.close()
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
