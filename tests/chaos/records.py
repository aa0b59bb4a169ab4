"""The records in a raw batch, read without the pipeline's code: a message each, or many of a file."""

import json
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO

import polars as pl

from tests.chaos.readings import row_payload


class Records:
    """The messages of one raw batch; `layout` as it is stored, null where each is a record."""

    def __init__(self, messages: Sequence[bytes], layout: str | None) -> None:
        self._messages = messages
        self._format = json.loads(layout)["format"] if layout else None

    def payload(self, sequence: int, part: int | None) -> bytes:
        """The bytes of one record; none for a place that is not there."""
        if part is None:
            return self._messages[sequence]
        return self._of_part[part] if part < len(self._of_part) else b""

    @cached_property
    def _of_part(self) -> Sequence[bytes]:
        """Of a part of a file: its last message. Our files have neither quotes nor empty lines."""
        if self._format == "parquet":
            rows = pl.read_ipc(BytesIO(self._messages[-1]))
            columns = ("device_id", "timestamp", "temperature", "n")
            return [row_payload(*row) for row in rows.select(columns).iter_rows()]
        return self._messages[-1].split(b"\n")
