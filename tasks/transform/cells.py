"""What decoding hands to the rules: typed cells, and beside each what was wrong with it.

Both ways to decode (`shape.py`, `record.py`) give these columns, so that nothing after them knows which one
read a message:

* `sequence` (Int32): the message;
* one column per input of the contract; a timestamp is still text;
* `NAME.epoch` (Float64) for a timestamp given as a number, in seconds or milliseconds;
* `NAME.fault` (String): the rule that kept the value from being read, else null; the column is there only
  when some message of the batch has such a fault.
"""

import polars as pl

from tasks.contract import POLARS_TYPES, Column, ColumnType, Contract

SEQUENCE = "sequence"


def fault(name: str) -> str:
    """The column that says why `name` could not be read. No contract's column has a dot in its name."""
    return f"{name}.fault"


def is_fault(name: str) -> bool:
    """Whether a column is one of the faults."""
    return name.endswith(".fault")


def epoch(name: str) -> str:
    """The column that holds a timestamp given as a number."""
    return f"{name}.epoch"


def type_of(column: Column) -> pl.DataType:
    """The type of a cell before timestamps are parsed."""
    return pl.String() if column.type is ColumnType.TIMESTAMP else POLARS_TYPES[column.type]


def schema(contract: Contract) -> pl.Schema:
    """All columns that decoding may give, in order."""
    fields: dict[str, pl.DataType] = {SEQUENCE: pl.Int32()}
    for column in contract.inputs:
        fields[column.name] = type_of(column)
        if column.type is ColumnType.TIMESTAMP:
            fields[epoch(column.name)] = pl.Float64()
        fields[fault(column.name)] = pl.String()
    return pl.Schema(fields)
