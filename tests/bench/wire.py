"""Publishing faster than any client would: packets made beforehand, sent in one piece, QoS 1.

Used to fill the broker; what is measured never goes through here.
"""

import socket
import struct
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

WINDOW = 20_000
"""Messages on their way without the broker's acknowledgement."""
BURST = 0.01
"""Seconds between two bursts of a steady rate."""
PUBACK_BYTES = 4

Message = tuple[bytes, bytes]
"""Topic and payload."""


def keep_for(url: str, client_id: str, topic_filter: str) -> None:
    """Have the broker forget what it kept for this client id, and keep whatever comes from now on."""
    forget(url, client_id)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, clean_session=False)
    subscribed: list[object] = []
    client.on_connect = lambda *_: client.subscribe(topic_filter, qos=1)
    client.on_subscribe = lambda *_: subscribed.append(True)
    address = urlsplit(url)
    client.connect(str(address.hostname), address.port or 1883)
    while not subscribed:
        client.loop(0.1)
    client.disconnect()


def forget(url: str, client_id: str) -> None:
    """End the session of this client id."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, clean_session=True)
    address = urlsplit(url)
    client.connect(str(address.hostname), address.port or 1883)
    while not client.is_connected():
        client.loop(0.1)
    client.disconnect()


class Blast:
    """A connection that publishes."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((str(address.hostname), address.port or 1883))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sent = self._acknowledged = 0
        self._socket.sendall(b"\x10" + bytes([14]) + b"\x00\x04MQTT\x04\x02\x00\x00\x00\x02bb")
        self._read(4)

    def send(self, messages: Sequence[Message]) -> None:
        """Publish; returns when at most WINDOW of them are not acknowledged."""
        for start in range(0, len(messages), WINDOW // 2):
            part = messages[start : start + WINDOW // 2]
            self._wait(WINDOW - len(part))
            first = self._sent
            self._socket.sendall(b"".join(_packet(first + n, *each) for n, each in enumerate(part)))
            self._sent += len(part)

    def finish(self) -> None:
        """Wait until the broker has all of it, and leave."""
        self._wait(0)
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()

    def steady(self, messages: Sequence[Message], rate: int) -> None:
        """Publish so many a second, at least 100, in bursts."""
        size, began = round(rate * BURST), time.perf_counter()
        for burst, start in enumerate(range(0, len(messages), size)):
            wait = began + burst * BURST - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            self.send(messages[start : start + size])

    def _wait(self, most: int) -> None:
        while self._sent - self._acknowledged > most:
            self._read((self._sent - self._acknowledged - most) * PUBACK_BYTES)
            self._acknowledged = self._sent - most

    def _read(self, size: int) -> None:
        while size:
            got = len(self._socket.recv(size))
            if not got:
                raise ConnectionError("the broker closed the publisher's connection")
            size -= got


def _packet(number: int, topic: bytes, payload: bytes) -> bytes:
    length, size = 4 + len(topic) + len(payload), b""
    while True:
        length, low = divmod(length, 128)
        size += bytes([low | 0x80 if length else low])
        if not length:
            break
    head = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 65_535 + 1)
    return b"\x32" + size + head + payload
