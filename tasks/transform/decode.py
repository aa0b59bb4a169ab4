"""Payloads to typed cells: the fast way by shapes, and the strict way for whatever is left.

No message can spoil another: each is read alone, whichever way it takes, and both ways agree on every
message they can both read (a property test holds them to it).
"""

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from tasks.contract import Contract
from tasks.transform import cells, record
from tasks.transform.shape import learn

MOST_SHAPES: Final = 8  # a batch of more shapes than this reads its rest the strict way
FEWEST: Final = 400  # fewer messages than this are read sooner one by one than a shape is learned

UNDECODABLE: Final = pl.Schema({cells.SEQUENCE: pl.Int32, "rule": pl.String})


@dataclass(frozen=True, slots=True)
class Decoded:
    """`records`: typed cells (see `cells.py`); `undecodable`: `sequence` and the one `rule` broken.

    Every message is in exactly one of them. Neither is in any order.
    """

    records: pl.DataFrame
    undecodable: pl.DataFrame


def decode(payloads: pl.Series, contract: Contract, fewest: int = FEWEST) -> Decoded:
    """Decode messages (Binary, n), each of them one JSON object.

    `fewest` changes how fast it is, never what comes out.
    """
    messages = pl.DataFrame({"payload": payloads}).with_row_index(cells.SEQUENCE)
    messages = messages.with_columns(pl.col(cells.SEQUENCE).cast(pl.Int32))
    size = pl.col("payload").bin.size()
    empty = pl.when(size == 0).then(pl.lit("payload.empty"))
    unfit = empty.when(size > contract.max_bytes).then(pl.lit("payload.size"))
    messages = messages.with_columns(rule=unfit)
    refused = messages.filter(pl.col("rule").is_not_null()).select(UNDECODABLE.names())
    fit = messages if refused.is_empty() else messages.filter(pl.col("rule").is_null())
    read, rest = by_shapes(fit.select(cells.SEQUENCE, "payload"), contract, fewest)
    strict = by_record(rest, contract)
    records = pl.concat([*read, strict.records], how="diagonal")
    return Decoded(complete(records, contract), pl.concat([refused, strict.undecodable]))


def by_shapes(
    messages: pl.DataFrame, contract: Contract, fewest: int
) -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """Read what can be read fast; returns the frames read and the messages that are left."""
    rest = messages.with_columns(texts_of(messages["payload"]).alias("text"))
    read: list[pl.DataFrame] = []
    for attempt in range(MOST_SHAPES):
        if rest.height < fewest:
            break
        sample = rest["text"][rest.height * attempt // MOST_SHAPES]
        shape = learn(sample, contract) if sample is not None else None
        if shape is None:
            continue
        found = shape.read(rest["text"]).insert_column(0, rest[cells.SEQUENCE])
        matched = found["matched"]
        if matched.all():
            return [*read, found.drop("matched")], rest.clear().drop("text")
        read.append(found.filter(matched).drop("matched"))
        rest = rest.filter(~matched)
    return read, rest.drop("text")


def texts_of(payloads: pl.Series) -> pl.Series:
    """Payloads as text, null where they are not UTF-8."""
    try:
        return payloads.cast(pl.String)
    except pl.exceptions.ComputeError:  # Polars casts all or none
        return pl.Series(map(_text, payloads), dtype=pl.String)


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return None


def by_record(messages: pl.DataFrame, contract: Contract) -> Decoded:
    """Read messages (`sequence`, `payload`) one by one; the definition of what a message means."""
    sequences: list[int] = []
    records: list[dict[str, Any]] = []
    refused: list[tuple[int, str]] = []
    for sequence, payload in zip(messages[cells.SEQUENCE], messages["payload"], strict=True):
        outcome = record.read(payload, contract)
        if isinstance(outcome, str):
            refused.append((sequence, outcome))
        else:
            sequences.append(sequence)
            records.append(outcome)
    frame = record.tabulate(records, contract)
    frame.insert_column(0, pl.Series(cells.SEQUENCE, sequences, pl.Int32))
    return Decoded(frame, pl.DataFrame(refused, UNDECODABLE, orient="row"))


def complete(records: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The columns of `cells.schema` in order, without faults that no message has; minus zero is zero."""
    columns = []
    for name, dtype in cells.schema(contract).items():
        present = name in records.columns
        if cells.is_fault(name) and (not present or records[name].null_count() == records.height):
            continue
        if present and records[name].dtype.is_temporal():  # a timestamp that came as one
            dtype = records[name].dtype
        column = (pl.col(name) if present else pl.lit(None)).cast(dtype)
        if dtype == pl.Float64:  # not `+ 0.0`: Polars leaves a column of more than one row as it is
            column = pl.when(column == 0.0).then(0.0).otherwise(column)
        columns.append(column.alias(name))
    return records.select(columns)
