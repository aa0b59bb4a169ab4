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

from tasks.contract import POLARS_TYPES, Column, ColumnType, Contract
from tasks.contract_rules import NUMBERS

SEQUENCE = "sequence"
STILL_TEXT = (ColumnType.TEXT, ColumnType.TIMESTAMP, ColumnType.DECIMAL, ColumnType.JSON)
"""Types whose cells are text."""


def fault(name: str) -> str:
    """The column that says why `name` could not be read. No contract's column has a dot in its name."""
    return f"{name}.fault"


def is_fault(name: str) -> bool:
    """Whether a column is one of the faults."""
    return name.endswith(".fault")


def epoch(name: str) -> str:
    """The column that holds a timestamp given as a number."""
    return f"{name}.epoch"


def as_read(name: str) -> str:
    """The column that holds a converted number as it was read."""
    return f"{name}.read"


def kind_of(column: Column) -> ColumnType:
    """What a cell is before its reading rules: what is looked up in a `map` is text."""
    return ColumnType.TEXT if column.map is not None else column.type


def type_of(column: Column) -> pl.DataType:
    """The type of a cell before its reading rules."""
    kind = kind_of(column)
    return pl.String() if kind in STILL_TEXT else POLARS_TYPES[kind]


def null_words(column: Column) -> list[str]:
    """The texts that stand for a missing number, so that they are not what no number can be read from."""
    if kind_of(column) not in NUMBERS or type_of(column) == pl.String():
        return []
    return [each for each in column.null_values or () if isinstance(each, str)]


def schema(contract: Contract) -> pl.Schema:
    """All columns that decoding may give, in order."""
    fields: dict[str, pl.DataType] = {SEQUENCE: pl.Int32()}
    for column in contract.recorded:
        fields[column.name] = type_of(column)
        if column.type is ColumnType.TIMESTAMP:
            fields[epoch(column.name)] = pl.Float64()
        fields[fault(column.name)] = pl.String()
    return pl.Schema(fields)


def no_minus_zero(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The value, zero for minus zero; not `+ 0.0`: Polars leaves a column of more than one row as it is."""
    return pl.when(value == 0.0).then(0.0).otherwise(value) if dtype == pl.Float64 else value
