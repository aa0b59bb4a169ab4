"""The MQTT codec: byte for byte against the standard's examples, and cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.mqtt import frames
from infra.mqtt.frames import (
    ConnAck,
    FrameSplitter,
    MalformedFrameError,
    PingResp,
    Publishes,
    SubAck,
    UnsubAck,
)
from lineage.errors import RejectedError


def publish(topic: bytes, payload: bytes, packet_id: int = 0, flags: int = 0) -> bytes:
    """A PUBLISH frame; QoS 1 when it has a packet id."""
    body = len(topic).to_bytes(2) + topic + (packet_id.to_bytes(2) if packet_id else b"") + payload
    header = 0x30 | flags | (0x02 if packet_id else 0)
    return bytes((header,)) + frames.remaining_length(len(body)) + body


def read(pieces: list[bytes]) -> tuple[Publishes, list[frames.Answer]]:
    splitter, everything, answers = FrameSplitter(), Publishes(), list[frames.Answer]()
    for piece in pieces:
        publishes, more = splitter.feed(piece)
        everything.extend(publishes)
        answers += more
    return everything, answers


messages = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=30),
        st.one_of(st.binary(max_size=40), st.integers(100, 20_000).map(lambda size: b"p" * size)),
        st.integers(0, 65_535),
        st.sampled_from((0, frames.RETAIN)),
    ),
    max_size=12,
)
others = st.sampled_from((b"\xd0\x00", b"\x20\x02\x01\x00", b"\x90\x03\x00\x07\x01", b"\xb0\x02\x00\x08"))


@given(messages=messages, between=st.lists(others, max_size=4), data=st.data())
def test_any_cut_gives_the_same_messages(
    messages: list[tuple[bytes, bytes, int, int]], between: list[bytes], data: st.DataObject
) -> None:
    parts = [publish(*message) for message in messages]
    for other in between:
        parts.insert(data.draw(st.integers(0, len(parts))), other)
    stream = b"".join(parts)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    publishes, answers = read(pieces)
    assert list(zip(publishes.topics, publishes.payloads, publishes.packet_ids, strict=True)) == [
        message[:3] for message in messages
    ]
    assert [header & frames.RETAIN for header in publishes.headers] == [message[3] for message in messages]
    assert publishes.size == len(stream) - sum(map(len, between))
    assert len(answers) == len(between)


def test_a_stream_cut_after_every_byte() -> None:
    stream = publish(b"a/b", b"x" * 300, 7) + b"\xd0\x00" + publish(b"c", b"", 0)
    publishes, answers = read([bytes((byte,)) for byte in stream])
    assert publishes.topics == [b"a/b", b"c"]
    assert publishes.payloads == [b"x" * 300, b""]
    assert publishes.packet_ids == [7, 0]
    assert publishes.unacknowledgeable == 1
    assert answers == [PingResp()]


@pytest.mark.parametrize("size", [0, 120, 121, 16_376, 16_377, 1_048_576, 2_097_200])
def test_every_width_of_the_remaining_length(size: int) -> None:
    stream = publish(b"t/1", b"z" * size, 65_535)
    publishes, _ = read([stream[:3], stream[3:100_000], stream[100_000:]])
    assert list(map(len, publishes.payloads)) == [size]
    assert publishes.packet_ids == [65_535]


@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (2_097_151, b"\xff\xff\x7f"),
        (2_097_152, b"\x80\x80\x80\x01"),
        (268_435_455, b"\xff\xff\xff\x7f"),
    ],
)
def test_remaining_lengths_of_table_2_4(length: int, encoded: bytes) -> None:
    assert frames.remaining_length(length) == encoded


def test_a_packet_longer_than_mqtt_allows_is_refused() -> None:
    with pytest.raises(RejectedError):
        frames.remaining_length(268_435_456)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"\x32\x80\x80\x80\x80\x01", id="length of five bytes"),
        pytest.param(b"\x32\x02\x00\x00", id="publish without a topic"),
        pytest.param(b"\x30\x03\x00\x00x", id="empty topic"),
        pytest.param(b"\x30\x04\x00\x09ab", id="topic longer than the frame"),
        pytest.param(b"\x32\x04\x00\x01a\x00", id="half a packet id"),
        pytest.param(publish(b"a", b"", 1)[:-2] + b"\x00\x00", id="packet id 0"),
        pytest.param(b"\x34\x05\x00\x01a\x00\x01", id="QoS 2"),
        pytest.param(b"\x36\x05\x00\x01a\x00\x01", id="QoS 3"),
        pytest.param(b"\x20\x03\x00\x00\x00", id="long CONNACK"),
        pytest.param(b"\x90\x03\x00\x01\x03", id="SUBACK with an unknown code"),
        pytest.param(b"\xd0\x01x", id="PINGRESP with a body"),
        pytest.param(b"\x10\x00", id="CONNECT from a broker"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n" + b"x" * 99, id="not MQTT"),
    ],
)
def test_malformed_frames(stream: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        read([publish(b"fine", b"", 1) + stream])


def test_connect_packet() -> None:
    packet = frames.connect("slot-1", keepalive=60, username="u", password="pw")
    assert packet == b"\x10\x19\x00\x04MQTT\x04\xc0\x00\x3c\x00\x06slot-1\x00\x01u\x00\x02pw"
    assert (
        frames.connect("a", clean_session=True, keepalive=2)
        == b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x02\x00\x01a"
    )


def test_a_password_needs_a_user() -> None:
    with pytest.raises(RejectedError, match="user name"):
        frames.connect("a", password="pw")


def test_subscribe_and_unsubscribe_packets() -> None:
    assert frames.subscribe(10, "a/b") == b"\x82\x08\x00\x0a\x00\x03a/b\x01"
    assert frames.unsubscribe(11, "a/b") == b"\xa2\x07\x00\x0b\x00\x03a/b"


@pytest.mark.parametrize("text", ["a\x00b", "x" * 65_536])
def test_texts_that_mqtt_cannot_hold(text: str) -> None:
    with pytest.raises(RejectedError):
        frames.subscribe(1, text)


@given(st.lists(st.integers(0, 65_535)))
def test_pubacks_are_in_order_and_leave_out_qos_0(packet_ids: list[int]) -> None:
    expected = b"".join(b"\x40\x02" + number.to_bytes(2) for number in packet_ids if number)
    assert frames.pubacks(packet_ids) == expected


def test_answers() -> None:
    _, answers = read([b"\x20\x02\x01\x00\x20\x02\x00\x05\x90\x03\x01\x02\x80\xb0\x02\xff\xff\xd0\x00"])
    assert answers == [ConnAck(True, 0), ConnAck(False, 5), SubAck(258, 128), UnsubAck(65_535), PingResp()]


def test_a_subscription_that_would_lose_messages_is_refused() -> None:
    frames.check_suback(SubAck(1, 1), "a/#")
    with pytest.raises(RejectedError, match="QoS 0"):
        frames.check_suback(SubAck(1, 0), "a/#")
    with pytest.raises(RejectedError, match="refused"):
        frames.check_suback(SubAck(1, 128), "a/#")


@pytest.mark.parametrize(("flags", "repeated"), [(0, False), (frames.DUP, True), (frames.RETAIN, True)])
def test_what_may_have_come_before(flags: int, repeated: bool) -> None:
    publishes, _ = read([publish(b"a", b"1", 1) + publish(b"a", b"2", 2, flags)])
    assert publishes.repeated is repeated


@given(messages=messages, share=st.integers(0, 12))
def test_cutting_loses_nothing(messages: list[tuple[bytes, bytes, int, int]], share: int) -> None:
    whole, _ = read([publish(*message) for message in messages])
    head, rest = whole.cut(share)
    assert len(head) == min(share, len(whole))
    assert head.size + rest.size == whole.size
    head.extend(rest)
    assert head == whole
