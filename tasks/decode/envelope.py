"""What a source keeps beside a message: its key, its headers, and when it was sent. Kafka alone has them."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from tasks.batch import BESIDE_SCHEMA, RawBatch
from tasks.contract import UTC_MICROS, Contract, Metadata
from tasks.decode.messages import texts_of

SENT: Final = "message.sent_at"
KEY: Final = "message.key"
HEADERS: Final = "message.headers"


def name_of(metadata: Metadata) -> str:
    """How a part of the envelope is called in a frame and in lineage; no contract's column has a dot."""
    return {"key": KEY, "sent": SENT}.get(metadata.kind, f"{HEADERS}.{metadata.name}")


def unread(metadata: Metadata) -> str:
    """The column that says where a part of the envelope is no text."""
    return f"{name_of(metadata)}.unread"


def schema(contract: Contract) -> dict[str, pl.DataType]:
    """The parts of the envelope that a contract reads."""
    return {
        name_of(of): UTC_MICROS if of.kind == "sent" else pl.String()
        for column in contract.inputs
        if (of := column.metadata) and of.is_of_envelope
    }


def parts(batch: RawBatch, sequences: pl.Series, contract: Contract) -> Iterator[pl.Series]:
    """`schema` of the messages at these numbers (n), and `unread` (Boolean) where some part is not UTF-8."""
    for column in contract.inputs:
        if (of := column.metadata) is None or not of.is_of_envelope:
            continue
        held = _held(batch.messages, of).gather(sequences)
        if of.kind == "sent":
            yield held.alias(SENT)
            continue
        text = texts_of(held)
        yield text.alias(name_of(of))
        if text.null_count() != held.null_count():
            yield (held.is_not_null() & text.is_null()).alias(unread(of))


def _held(messages: pl.DataFrame, of: Metadata) -> pl.Series:
    """A part as it was received; null where a message, or the whole batch, has none."""
    name = {"key": "key", "sent": "sent_at"}.get(of.kind, "headers")
    if name not in messages.columns:
        dtype = pl.Binary() if name == "headers" else BESIDE_SCHEMA[name]
        return pl.repeat(None, messages.height, dtype=dtype, eager=True)
    if name != "headers":
        return messages[name]
    each = pl.element().struct
    named = each.field("value").filter(each.field("name") == of.name)
    return messages.select(pl.col(name).list.eval(named).list.last()).to_series()
