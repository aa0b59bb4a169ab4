"""What decoding hands to the rules: typed cells, and beside each what was wrong with it.

Both ways to decode (`shape.py`, `strict.py`) give these columns, so that nothing after them knows which one
read a message:

* `sequence` (Int32): the message;
* one column per column of the contract that a record holds; a timestamp and a decimal are still text, and so
  is what a `map` gives a meaning;
* `NAME.epoch` (Float64) for a timestamp given as a number, in seconds or milliseconds;
* `NAME.fault` (String): the rule that kept the value from being read, else null; the column is there only
  when some message of the batch has such a fault.

Reading rules add `NAME.read` (Float64) to a column that they convert: the number as it was read.
"""

import polars as pl

from tasks.contract import Column, Contract
from tasks.types.companions import as_read, epoch, fault, is_fault
from tasks.types.kinds import TYPES
from tasks.types.type import Type

__all__ = ["as_read", "epoch", "fault", "is_fault"]  # and what is below
SEQUENCE = "sequence"


def kind_of(column: Column) -> Type:
    """What a cell is before its reading rules: what is looked up in a `map` is text."""
    return TYPES["text"] if column.map is not None else column.kind


def type_of(column: Column) -> pl.DataType:
    """The type of a cell before its reading rules."""
    return kind_of(column).cell


def null_words(column: Column) -> list[str]:
    """The texts that stand for a missing number, so that they are not what no number can be read from."""
    kind = kind_of(column)
    if not kind.is_number or kind.cell == pl.String():
        return []
    return [each for each in column.null_values or () if isinstance(each, str)]


def schema(contract: Contract) -> pl.Schema:
    """All columns that decoding may give, in order."""
    fields: dict[str, pl.DataType] = {SEQUENCE: pl.Int32()}
    for column in contract.recorded:
        fields[column.name] = type_of(column)
        if column.kind.has_epoch:
            fields[epoch(column.name)] = pl.Float64()
        fields[fault(column.name)] = pl.String()
    return pl.Schema(fields)


def no_minus_zero(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The value, zero for minus zero; not `+ 0.0`: Polars leaves a column of more than one row as it is."""
    return pl.when(value == 0.0).then(0.0).otherwise(value) if dtype == pl.Float64 else value
