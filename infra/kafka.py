"""Kafka: the only place that imports confluent-kafka, and that turns its errors into ours.

A `Consumer` blocks: call it in a thread. Calls wait for each other, so `close` waits for a poll under way
that nobody waits for any more; `commit_group_offsets` alone does not wait, and must not come after `close`.
The group assigns the partitions; a partition gives nothing before `start_at` says at which offset it begins.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from time import monotonic
from urllib.parse import unquote, urlsplit

import confluent_kafka
import structlog
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, Message, TopicPartition
from pydantic import SecretStr

from lineage.errors import RejectedError, UnavailableError

log = structlog.get_logger(__name__)

_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError._INVALID_ARG,
    }
)
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_OUT_OF_RANGE = frozenset({KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET})
_ASK = 10.0  # seconds for one question to the brokers
_LOST = 30.0  # seconds without an answer after which the client is made anew
_HINT = "Check that it runs, and its URL: HEADWATER_KAFKA_URL, or its connection's."
_CRITICAL = 2  # of syslog: below it librdkafka writes a line for each vain connection; we say that once


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAddress:
    """`url`: `kafka://user:password@host:9092,host:9092`, or `kafkas://…` with TLS."""

    url: SecretStr
    mechanism: str = "SCRAM-SHA-512"  # how user and password are sent
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def configuration(self) -> dict[str, str]:
        """As librdkafka wants it."""
        parts = urlsplit(self.url.get_secret_value())
        login, _, servers = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        security = ("SASL_" if login else "") + ("SSL" if parts.scheme == "kafkas" else "PLAINTEXT")
        given = {
            "bootstrap.servers": servers,
            "security.protocol": security,
            "sasl.mechanism": self.mechanism if login else None,
            "sasl.username": unquote(user) or None,
            "sasl.password": unquote(password) or None,
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.certificate,
            "ssl.key.location": self.key,
        }
        return {name: str(value) for name, value in given.items() if value is not None}


@dataclass(slots=True)
class Polled:
    """Messages of one poll, in the order of each partition: lists of n, in step."""

    partitions: list[int]
    offsets: list[int]
    payloads: list[bytes]
    keys: list[bytes | None]
    headers: list[list[tuple[str, bytes | None]] | None]
    sent: list[int | None]  # ms since 1970 UTC, by the producer's or the broker's clock
    out_of_range: bool  # the next offset of a partition is gone
    first_at: datetime  # UTC; when the first message came
    last_at: datetime  # UTC; when the last had come


class Consumer:
    """A member of a consumer group on one topic."""

    def __init__(
        self, address: KafkaAddress, topic: str, group: str, client_id: str, *, session_timeout: timedelta
    ) -> None:
        self.topic = topic
        self.assignment: frozenset[int] = frozenset()  # the partitions that are ours
        self.generation = 0  # counts the assignments
        self.reason: str | None = "not connected yet"  # why nothing comes, None: all is well
        self.topic_is_missing = False  # the brokers answer, and have no such topic
        self._told = False  # that nothing comes
        self._silent_since: float | None = None  # by `monotonic`; None: the brokers answer
        self._is_member = False  # of the group; it may have given us no partition
        self._calls = Lock()  # held by the call under way
        self._configuration: dict[str, object] = {
            **address.configuration(),
            "group.id": group,
            "client.id": client_id,
            "session.timeout.ms": round(session_timeout.total_seconds() * 1000),
            "heartbeat.interval.ms": round(session_timeout.total_seconds() * 1000 / 10),
            "enable.auto.commit": False,
            "auto.offset.reset": "error",  # a gap must not be jumped over unseen
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 10_000,
            "queued.max.messages.kbytes": 32 * 1024,  # what is fetched ahead
            "fetch.wait.max.ms": 100,
            "error_cb": self._failed,
            "log_level": _CRITICAL,
        }
        self._consumer = self._member()

    def _member(self) -> confluent_kafka.Consumer:
        with _translated():
            member = confluent_kafka.Consumer(
                self._configuration, logger=logging.getLogger("confluent_kafka")
            )
            member.subscribe([self.topic], on_assign=self._assign, on_revoke=self._revoke)
        return member

    def poll(self, most: int, wait: timedelta, gather: timedelta) -> Polled:
        """Wait for a first message, then gather up to `most`; empty when nothing came.

        Raises RejectedError when the brokers refuse us.
        """
        with self._calls, _translated():
            messages = self._consumer.consume(1, wait.total_seconds())
            first_at = datetime.now(UTC)
            if messages and most > 1:
                messages += self._consumer.consume(most - 1, gather.total_seconds())
            good = [message for message in messages if message.error() is None]
            if not good and self._is_lost():  # not before: a failure that waited would be told after its end
                self._look()
        out_of_range = len(good) < len(messages) and self._is_out_of_range(messages)
        if good:
            self._well()
        return Polled(
            partitions=[message.partition() or 0 for message in good],
            offsets=[message.offset() or 0 for message in good],
            payloads=[message.value() or b"" for message in good],
            keys=[_bytes(message.key()) for message in good],
            headers=[_headers(message) for message in good],
            sent=[_sent(message) for message in good],
            out_of_range=out_of_range,
            first_at=first_at,
            last_at=datetime.now(UTC),
        )

    def _is_out_of_range(self, messages: Sequence[Message]) -> bool:
        """Whether one of them says that an offset is gone; other errors are noted."""
        errors = [error for message in messages if (error := message.error()) is not None]
        for error in errors:
            if error.code() not in _OUT_OF_RANGE:
                self._failed(error)
        return any(error.code() in _OUT_OF_RANGE for error in errors)

    def start_at(self, offsets: Mapping[int, int]) -> None:
        """Read the partitions that are ours from these offsets on."""
        partitions = [TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]
        with self._calls, _translated():
            self._consumer.assign(partitions)
        if self._is_member:
            self._well()

    def watermarks(self, partition: int) -> tuple[int, int]:
        """The first offset that the partition holds, and the next to come."""
        with self._calls, self._asked():
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), _ASK)
        return low, high

    def ends(self) -> Mapping[int, int]:
        """Partition → the next offset to come, of the whole topic; none while there is no topic."""
        with self._calls, self._asked():
            found = self._consumer.list_topics(self.topic, _ASK).topics[self.topic]
        if found.error is not None and found.error.code() not in _NO_TOPIC:
            raise UnavailableError("Kafka", found.error.str(), _HINT)
        return {partition: self.watermarks(partition)[1] for partition in sorted(found.partitions)}

    def commit_group_offsets(self, offsets: Mapping[int, int]) -> None:
        """Tell the group how far we are, for those who watch its lag; nothing depends on it."""
        partitions = [TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=partitions, asynchronous=True)
        except KafkaException as error:
            self._failed(error.args[0])

    def close(self) -> None:
        """Leave the group, once the call under way has ended."""
        with self._calls:
            self._consumer.close()

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """A question to the brokers; without an answer for too long the client is made anew."""
        try:
            yield
        except KafkaException as failure:
            self._failed(failure.args[0])
            if self._is_lost():
                self._renew()
            raise UnavailableError("Kafka", failure.args[0].str(), _HINT) from failure

    def _is_lost(self) -> bool:
        """Whether nothing came for so long that the client may never find its brokers again.

        librdkafka forgets a lone broker that says, while it starts, that there is none: its issue 5301.
        """
        since = self._silent_since
        return since is not None and not self.topic_is_missing and monotonic() - since > _LOST

    def _look(self) -> None:
        """Ask whether they are there: a topic may just be quiet since they came back."""
        try:
            self._consumer.list_topics(self.topic, _ASK)
        except KafkaException:
            self._renew()
        else:
            self._well()

    def _renew(self) -> None:
        """Leave the group, and join it with a new client."""
        log.info("Kafka does not answer, asked by a new client", topic=self.topic)
        self._consumer.close()
        self._is_member = False
        self._rebalanced(frozenset())
        self._consumer = self._member()
        self._silent_since = monotonic()

    def _assign(self, consumer: confluent_kafka.Consumer, partitions: list[TopicPartition]) -> None:
        # Nothing until `start_at`. Not paused: a resume that overtakes an assignment is lost, and a partition
        # with it, when brokers come back.
        consumer.assign([])
        self._is_member = True
        self._rebalanced(frozenset(each.partition for each in partitions))

    def _revoke(self, consumer: confluent_kafka.Consumer, _partitions: list[TopicPartition]) -> None:
        consumer.unassign()
        self._is_member = False  # when brokers are away too long, the client takes the partitions back itself
        self._rebalanced(frozenset())

    def _rebalanced(self, partitions: frozenset[int]) -> None:
        self.assignment, self.generation = partitions, self.generation + 1

    def _failed(self, error: KafkaError) -> None:
        """An error that the client mends by itself, or one that it never can."""
        if error.code() in _REFUSED:
            raise _refusal(error)
        missing = error.code() in _NO_TOPIC
        news = not self._told or missing != self.topic_is_missing
        self.reason, self.topic_is_missing, self._told = error.str(), missing, True
        if self._silent_since is None:
            self._silent_since = monotonic()
        if news:
            what = "there is no such topic, waited for" if missing else "Kafka is away, tried again"
            log.warning(what, topic=self.topic, reason=self.reason)

    def _well(self) -> None:
        if self._told:
            log.info("the topic is there" if self.topic_is_missing else "Kafka is back", topic=self.topic)
        self.reason, self.topic_is_missing, self._told, self._silent_since = None, False, False, None


def _headers(message: Message) -> list[tuple[str, bytes | None]] | None:
    held = message.headers()
    pairs = held.items() if isinstance(held, dict) else held or ()
    return [(str(name), _bytes(value)) for name, value in pairs] or None


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _sent(message: Message) -> int | None:
    kind, at = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else at


def _refusal(error: KafkaError) -> RejectedError:
    hint = "check its user's rights on the topic and the group, and its URL: HEADWATER_KAFKA_URL, or its"
    return RejectedError(f"Kafka refuses us: {error.str()}; {hint} connection's.")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except KafkaException as failure:
        error = failure.args[0]
        if error.code() in _REFUSED:
            raise _refusal(error) from failure
        raise UnavailableError("Kafka", error.str(), _HINT) from failure
