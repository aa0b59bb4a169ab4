"""Where a member of a group begins: every partition that is its own gives what it holds, each time."""

from collections.abc import Iterator
from datetime import timedelta
from time import monotonic

import pytest
from confluent_kafka import KafkaError, TopicPartition
from pydantic import SecretStr

from infra.kafka import Consumer, KafkaAddress
from infra.local.addresses import Address
from lineage.errors import UnavailableError
from tests.fixtures.kafka import Topic

PARTITIONS = 4
AGAIN = 100  # times: threads of the client race, and one in some hundreds lost a partition when it was paused


@pytest.fixture
def member(kafka_address: Address, topic: Topic) -> Iterator[Consumer]:
    topic.make(PARTITIONS)
    topic.publish({f"{number}" for number in range(10 * PARTITIONS)}, PARTITIONS)
    address = KafkaAddress(url=SecretStr(kafka_address.url))
    consumer = Consumer(address, topic.name, "group", "member", session_timeout=timedelta(seconds=6))
    yield consumer
    consumer.close()


def test_no_partition_stands_still_however_often_it_is_begun(member: Consumer) -> None:
    deadline = monotonic() + 60
    while len(member.assignment) < PARTITIONS:
        assert monotonic() < deadline
        member.poll(1, timedelta(seconds=0.1), timedelta())
    member.commit_group_offsets(dict.fromkeys(range(PARTITIONS), 1))  # so that it could begin by itself
    ours = [TopicPartition(member.topic, partition) for partition in member.assignment]
    for begun in range(AGAIN):
        member._assign(member._consumer, ours)  # as a rebalance does that gives us the same ones
        early = member.poll(1, timedelta(milliseconds=begun % 8), timedelta())
        assert not early.partitions, "a partition gave something before it was begun"
        member.start_at(dict.fromkeys(range(PARTITIONS), 0))
        silent, deadline = set(range(PARTITIONS)), monotonic() + 10
        while silent:
            assert monotonic() < deadline, f"{silent} gave nothing, begun {begun} times"
            silent -= set(member.poll(1_000, timedelta(seconds=0.2), timedelta(milliseconds=20)).partitions)


def test_a_client_that_lost_its_broker_for_good_is_made_anew(
    member: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As librdkafka loses a lone broker that says, while it starts, that there is none."""
    monkeypatch.setattr("infra.kafka._LOST", 1.0)
    monkeypatch.setattr("infra.kafka._ASK", 0.5)
    there = dict(member._configuration)
    for ask in (False, True):
        member._configuration["bootstrap.servers"] = "127.0.0.1:1"  # nobody listens there
        member._renew()
        member._configuration = dict(there)
        silent(member, ask=ask)
        assert read_all(member) == 10 * PARTITIONS
        assert member.reason is None


def silent(member: Consumer, *, ask: bool) -> None:
    """Poll, or ask for what a partition holds, until it is told that nothing comes."""
    deadline = monotonic() + 30
    while member.reason is None:
        assert monotonic() < deadline
        if ask:
            with pytest.raises(UnavailableError):
                member.watermarks(0)
        else:
            member.poll(1, timedelta(seconds=0.1), timedelta())


def read_all(member: Consumer) -> int:
    """Begin each partition at its first offset, and count what comes until all have come."""
    deadline, count, begun = monotonic() + 60, 0, -1
    while count < 10 * PARTITIONS:
        assert monotonic() < deadline, f"{count} read, {member.reason}"
        if member.generation != begun and member.assignment:
            begun, count = member.generation, 0
            member.start_at(dict.fromkeys(member.assignment, 0))
        count += len(member.poll(1_000, timedelta(seconds=0.2), timedelta(milliseconds=20)).partitions)
    return count


def test_a_quiet_topic_is_asked_for_and_its_client_stays(
    member: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_all(member)
    monkeypatch.setattr("infra.kafka._LOST", 0.2)
    client, generation = member._consumer, member.generation
    member._failed(KafkaError(KafkaError._TRANSPORT, "a connection was closed"))
    assert member.reason
    deadline = monotonic() + 20
    while member.reason:
        assert monotonic() < deadline
        member.poll(1, timedelta(seconds=0.1), timedelta())
    assert member._consumer is client
    assert member.generation == generation
