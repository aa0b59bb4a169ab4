"""What is stored of a batch against the same made again from its messages: a sentence for each difference.

Pure: frames in, sentences out. A row is told by its message and part; a value is the same when its bits are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import polars as pl

from tasks.load.row_id import ROW, RowId
from tasks.load.settle import CONFLICT

SHOWN: Final = 100
"""Characters that are shown of a value."""
STATEFUL: Final = frozenset({CONFLICT.rule, "load.refused"})
"""Rules that no record breaks by its bytes alone: they depend on what is stored, or on Postgres."""
FAILED: Final = "transform.failed"

AGAIN: Final = " made again"
"""Behind the name of a column; no contract's column has a space in its name."""
_JUDGEMENT: Final = ("rules", "stage", "error_type", "table", "key", "input_hash", "contract")


@dataclass(slots=True)
class Judged:
    """Rejected records against what they are made again: how many were compared, and what differs."""

    compared: int = 0
    apart: int = 0
    differences: list[str] = field(default_factory=list)


def place(what: str, batch: int, sequence: int, part: int | None) -> str:
    """How a row or a rejected record is named in a sentence."""
    return f"{what}, batch {batch}, message {sequence}" + ("" if part is None else f", part {part}")


def unlike_values(
    table: str, batch: int, stored: pl.DataFrame, made: pl.DataFrame, columns: Iterable[str]
) -> Iterator[str]:
    """The values of these columns that differ, of rows (n) that both frames have."""
    both = stored.join(made, on=ROW, suffix=AGAIN, nulls_equal=True, maintain_order="left")
    for name in columns:
        is_float = both.schema[name].is_float()
        before, again = (_bits(each) if is_float else pl.col(each) for each in (name, name + AGAIN))
        unlike = both.filter(~before.eq_missing(again)).select(*ROW, name, name + AGAIN)
        for sequence, part, was, now in unlike.iter_rows():
            yield (
                f"{place(table, batch, sequence, part)}: {name} is stored as {_shown(was)} "
                f"and made again as {_shown(now)}"
            )


def _bits(name: str) -> pl.Expr:
    """A double as its bits: minus zero is not zero, and a NaN is itself."""
    return pl.col(name).cast(pl.Float64).reinterpret(dtype=pl.UInt64)


def _shown(value: Any) -> str:
    text = "null" if value is None else str(value)
    if isinstance(value, str | float | int | bool):
        text = repr(value)
    elif isinstance(value, Decimal):
        text = format(value, "f")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def judged_again(batch: int, stored: Sequence[Mapping[str, Any]], again: pl.DataFrame) -> Judged:
    """Records that a batch rejected (columns of `store.rejected`) against what is rejected again.

    `again` has REJECTED_SCHEMA and the version of the `contract` (n).

    One without a part speaks for its whole message, as it does in a replay.
    """
    made: dict[RowId, Mapping[str, Any]] = {
        (row["sequence"], row["part"]): row for row in again.iter_rows(named=True)
    }
    found = Judged()
    for record in stored:
        at = (record["sequence"], record["part"])
        today = made.get(at) or made.get((at[0], None))
        if STATEFUL.isdisjoint(record["rules"]):
            found.compared += 1
            found.differences += _unlike_verdict(batch, record, today)
        elif today is None or today["rules"] == [CONFLICT.rule]:
            found.apart += 1
        else:
            found.compared += 1
            found.differences.append(_other_verdict(batch, record, today))
    return found


def _unlike_verdict(batch: int, record: Mapping[str, Any], again: Mapping[str, Any] | None) -> Iterator[str]:
    if again is None or again["rules"] != record["rules"]:
        yield _other_verdict(batch, record, again)
        return
    for name in _JUDGEMENT:
        was = record["table_name" if name == "table" else name]
        if was != again[name]:
            yield (
                f"{place('rejected', batch, record['sequence'], record['part'])}: {name} is stored as "
                f"{_shown(was)} and made again as {_shown(again[name])}"
            )


def _other_verdict(batch: int, record: Mapping[str, Any], again: Mapping[str, Any] | None) -> str:
    today = f"rejected by {', '.join(again['rules'])}" if again else "not rejected"
    return (
        f"{place('rejected', batch, record['sequence'], record['part'])}: it is stored as rejected by "
        f"{', '.join(record['rules'])}, and made again it is {today}"
    )
