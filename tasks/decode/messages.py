"""Payloads to typed cells: the fast way by shapes, and the strict way for whatever is left.

No message can spoil another: each is read alone, whichever way it takes, and both ways agree on every
message they can both read (a property test holds them to it).
"""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tasks.contract import Contract
from tasks.decode import cells
from tasks.decode import strict as record
from tasks.decode.shape import MATCHED, Shape, learn

MOST_SHAPES: Final = 8  # a batch of more shapes than this reads its rest the strict way
LEARN_FROM: Final = 400
WORTH: Final = 32

UNDECODABLE: Final = pl.Schema({cells.SEQUENCE: pl.Int32, "rule": pl.String})
DETAIL: Final = pl.Schema({"detail": pl.String})
"""What an undecodable record may carry besides: where it breaks its rule, and why."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """`records`: typed cells (see `cells.py`); `undecodable`: `sequence` and the one `rule` broken.

    Every message is in exactly one of them. Neither is in any order. `sentences`: what a rule says here.
    """

    records: pl.DataFrame
    undecodable: pl.DataFrame
    sentences: dict[str, str] = field(default_factory=dict)


def unread(rule: str, sentence: str, contract: Contract) -> Decoded:
    """A message of many records that is rejected as one: why none of them is read."""
    whole = pl.DataFrame([(None, rule)], UNDECODABLE, orient="row")
    return Decoded(cells.schema(contract).to_frame(), whole, {rule: sentence})


class Decoder:
    """Reads messages of one contract, and remembers their shapes: faster, and never another outcome.

    `learn_from`: so many messages read one by one pay for a shape to be learned. `worth`: fewer than this
    are read sooner one by one even when their shape is known.
    """

    def __init__(self, contract: Contract, *, learn_from: int = LEARN_FROM, worth: int = WORTH) -> None:
        self.contract = contract
        self._learn_from, self._worth = learn_from, worth
        self._shapes: tuple[Shape, ...] = ()  # the last met first
        self._read_alone = 0  # messages since a shape was learned

    def decode(self, payloads: pl.Series) -> Decoded:
        """Decode messages (Binary, n), each of them one JSON object."""
        messages = pl.DataFrame({"payload": payloads}).with_row_index(cells.SEQUENCE)
        messages = messages.with_columns(pl.col(cells.SEQUENCE).cast(pl.Int32))
        size = pl.col("payload").bin.size()
        empty = pl.when(size == 0).then(pl.lit("payload.empty"))
        unfit = empty.when(size > self.contract.max_bytes).then(pl.lit("payload.size"))
        messages = messages.with_columns(rule=unfit)
        refused = messages.filter(pl.col("rule").is_not_null()).select(UNDECODABLE.names())
        fit = messages if refused.is_empty() else messages.filter(pl.col("rule").is_null())
        read, rest = self.by_shapes(fit.select(cells.SEQUENCE, "payload"))
        if rest.height or not read:
            strict = by_record(rest, self.contract)
            read, refused = [*read, strict.records], pl.concat([refused, strict.undecodable], how="diagonal")
        return Decoded(complete(pl.concat(read, how="diagonal"), self.contract), refused)

    def by_shapes(self, messages: pl.DataFrame) -> tuple[list[pl.DataFrame], pl.DataFrame]:
        """Read what can be read fast; returns the frames read and the messages that are left."""
        rest = messages.with_columns(texts_of(messages["payload"]).alias("text"))
        read: list[pl.DataFrame] = []
        for attempt in range(MOST_SHAPES):
            if rest.height < self._worth:
                break
            sample = rest["text"][rest.height * attempt // MOST_SHAPES]
            shape = self._shape_of(sample, rest.height) if sample is not None else None
            if shape is None:
                continue
            found = shape.read(rest["text"]).insert_column(0, rest[cells.SEQUENCE])
            matched = found[MATCHED]
            if matched.all():
                return [*read, found.drop(MATCHED)], rest.clear().drop("text")
            read.append(found.filter(matched).drop(MATCHED))
            rest = rest.filter(~matched)
        self._read_alone += rest.height
        return read, rest.drop("text")

    def _shape_of(self, sample: str, waiting: int) -> Shape | None:
        """The shape of a message among so many: one that is known, or learned once that has paid."""
        shape = next((known for known in self._shapes if known.fits(sample)), None)
        if shape is None:
            if self._read_alone + waiting < self._learn_from:
                return None
            self._read_alone = 0
            shape = learn(sample, self.contract)
        if shape is not None:
            others = (known for known in self._shapes if known is not shape)
            self._shapes = (shape, *others)[:MOST_SHAPES]
        return shape


def texts_of(payloads: pl.Series) -> pl.Series:
    """Payloads as text, null where they are not UTF-8, or not there."""
    try:
        return payloads.cast(pl.String)
    except pl.exceptions.ComputeError:  # Polars casts all or none
        return pl.Series(map(_text, payloads), dtype=pl.String)


def _text(payload: bytes | None) -> str | None:
    try:
        return None if payload is None else payload.decode("utf-8")
    except UnicodeDecodeError:
        return None


def by_record(messages: pl.DataFrame, contract: Contract) -> Decoded:
    """Read messages (`sequence`, `payload`) one by one; the definition of what a message means."""
    sequences: list[int] = []
    records: list[record.Record] = []
    refused: list[tuple[int, str, str | None]] = []
    decimals = record.decimals_of(contract)
    for sequence, payload in zip(messages[cells.SEQUENCE], messages["payload"], strict=True):
        outcome = record.read(payload, contract, decimals)
        if isinstance(outcome, str):
            # To parse a payload twice would cost a storm of bad ones a sixth of its speed.
            why = outcome.why if isinstance(outcome, record.NoJson) else record.why_not(payload, outcome)
            refused.append((sequence, outcome, why))
        else:
            sequences.append(sequence)
            records.append(outcome)
    frame = record.tabulate(records, contract)
    frame.insert_column(0, pl.Series(cells.SEQUENCE, sequences, pl.Int32))
    return Decoded(frame, pl.DataFrame(refused, UNDECODABLE | DETAIL, orient="row"))


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
        columns.append(cells.no_minus_zero(column, dtype).alias(name))
    return records.select(columns)
