"""Reading rules: from the cells that decoding gives to the values of the contract's columns.

cells ─topic, path, arrival, constants─▶ ─null words─▶ ─map─▶ ─units─▶ ─times, decimals─▶ values
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import polars as pl

from tasks.batch import RawBatch
from tasks.contract import Column, ColumnType, Contract, Metadata, time_literal
from tasks.decode import cells, envelope
from tasks.pattern import Pattern
from tasks.transform.validate import Rule

LOCATION: Final = "message.location"
"""The column of a record's topic, or of its file's path; no contract's column has a dot in its name."""
RECEIVED: Final = "message.received_at"
"""When a record came, as lineage calls it."""


def values(
    records: pl.DataFrame, batch: RawBatch, contract: Contract, pattern: Pattern | None
) -> pl.DataFrame:
    """The contract's inputs of decoded records (see `cells.py`), and LOCATION; `pattern`: their source's.

    What could not be read is a fault. The rows may come back in another order.
    """
    frame = records.with_columns(location(records[cells.SEQUENCE], batch)) if pattern else records
    if has_envelope := any(each.metadata and each.metadata.is_of_envelope for each in contract.inputs):
        frame = frame.with_columns(envelope.parts(batch, frame[cells.SEQUENCE], contract))
    frame = frame.with_columns(_beside(contract, pattern, batch.received_at))
    if has_envelope:
        frame = frame.with_columns(_no_text(contract, frame.schema))
    for column in contract.inputs:
        if column.null_values is not None:
            frame = frame.with_columns(_without_null_values(column, frame.schema))
        if column.map is not None:
            frame = frame.with_columns(_mapped(column, frame.schema))
        if column.conversion is not None:
            here = cells.no_minus_zero(in_unit(column), pl.Float64()).alias(column.name)
            frame = frame.with_columns(pl.col(column.name).alias(cells.as_read(column.name)), here)
    return parsed(frame, contract)


def parsed(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Values in place of cells that are still text. The rows may come back in another order."""
    for column in contract.inputs:
        if frame.schema.get(column.name) == pl.String:
            frame = column.kind.parse(frame, column)
    return frame


def location(sequences: pl.Series, batch: RawBatch) -> pl.Series:
    """LOCATION (String, n) of records by their number in the batch."""
    there = batch.messages["location"]
    if batch.layout is None:
        return there.gather(sequences).alias(LOCATION)
    path, _, _line = there[-1].rpartition(":")
    return pl.repeat(path, sequences.len(), dtype=pl.String, eager=True).alias(LOCATION)


def _beside(contract: Contract, pattern: Pattern | None, received_at: datetime) -> Iterator[pl.Expr]:
    """The cells of columns that no record holds."""
    for column in contract.inputs:
        if column.is_arrival:
            yield time_literal(received_at).alias(column.name)
        elif column.metadata is not None and column.metadata.sent:
            yield pl.col(envelope.SENT).alias(column.name)
        elif column.metadata is not None:
            of = column.metadata
            part = pl.col(envelope.name_of(of)) if of.is_of_envelope else part_of(of, pattern)
            if words := cells.null_words(column):
                part = pl.when(~part.is_in(words)).then(part)
            cell, *others = cells.kind_of(column).from_text(part, column.name)
            yield cells.no_minus_zero(cell, cells.type_of(column)).alias(column.name)
            yield from others
        elif column.constant is not None:
            dtype = column.polars_type
            yield cells.no_minus_zero(pl.lit(column.constant, dtype), dtype).alias(column.name)


def _no_text(contract: Contract, schema: pl.Schema) -> Iterator[pl.Expr]:
    """The faults of columns whose key or header is not UTF-8."""
    for column in contract.inputs:
        if column.metadata is None or not column.metadata.is_of_envelope:
            continue
        if (unread := envelope.unread(column.metadata)) in schema:
            fault = pl.when(pl.col(unread)).then(pl.lit(f"{column.name}.utf8"))
            yield _with_fault(column.name, fault, schema)


def _with_fault(name: str, fault: pl.Expr, schema: pl.Schema) -> pl.Expr:
    """A column's fault, unless one is known."""
    known = pl.col(cells.fault(name)) if cells.fault(name) in schema else pl.lit(None, pl.String)
    return pl.coalesce(known, fault).alias(cells.fault(name))


def origin_of(column: Column, metadata: Metadata, pattern: Pattern | None) -> pl.Expr:
    """What stands beside a record, of the column's type, as the plan of its lineage has it."""
    if metadata.received:
        return pl.col(RECEIVED)
    if metadata.sent:
        return pl.col(envelope.SENT)
    of_envelope = metadata.is_of_envelope
    part = pl.col(envelope.name_of(metadata)) if of_envelope else part_of(metadata, pattern)
    return part if column.type is ColumnType.TEXT else part.cast(column.polars_type)


def part_of(metadata: Metadata, pattern: Pattern | None) -> pl.Expr:
    """The named part of LOCATION; null where a source gives none."""
    if pattern is None or metadata.kind != pattern.kind or metadata.name not in pattern.names:
        return pl.lit(None, pl.String)
    return pattern.part(pl.col(LOCATION), metadata.name)


def _without_null_values(column: Column, schema: pl.Schema) -> Iterator[pl.Expr]:
    """Where what is read is one of the words, or in a column of numbers equal to one that is a number."""
    name, said = column.name, column.null_values or ()
    numbers = [each for each in said if not isinstance(each, str)]
    if schema[name] == pl.String:
        yield _unless_in(
            pl.col(name), pl.Series([each for each in said if isinstance(each, str)], dtype=pl.String)
        )
    elif schema[name] == pl.Int64:
        yield _unless_in(pl.col(name), pl.Series(numbers, dtype=pl.Int64))
    elif schema[name] == pl.Float64:
        yield _unless_in(pl.col(name), pl.Series(map(float, numbers), dtype=pl.Float64))
    if cells.epoch(name) in schema:
        yield _unless_in(pl.col(cells.epoch(name)), pl.Series(map(float, numbers), dtype=pl.Float64))


def _unless_in(value: pl.Expr, said: pl.Series) -> pl.Expr:
    return pl.when(~value.is_in(said.implode())).then(value)


def _mapped(column: Column, schema: pl.Schema) -> Iterator[pl.Expr]:
    """What is meant by what was read; what is in no `map` is a fault."""
    name, read = column.name, pl.col(column.name)
    meant = read.replace_strict(
        list(column.map or {}),
        pl.Series(list((column.map or {}).values()), dtype=column.polars_type),
        default=None,
        return_dtype=column.polars_type,
    )
    yield cells.no_minus_zero(meant, column.polars_type).alias(name)
    fault = pl.when(read.is_not_null() & meant.is_null()).then(pl.lit(f"{name}.map"))
    yield _with_fault(name, fault, schema)


def in_unit(column: Column) -> pl.Expr:
    """A column in the unit of its contract, converted where it is read in another.

    Multiplied and added to by constants alone: the same to the last bit for any number of rows.
    """
    value = pl.col(column.name)
    if column.conversion is None:
        return value
    before, factor, after = column.conversion
    value = (value + before if before else value) * factor
    return value + after if after else value


def location_rules(pattern: Pattern | None, contract: Contract) -> Iterator[Rule]:
    """The topic or path must fit, and a part that a record names too must be as the record says.

    A session brings what earlier filters asked for too.
    """
    if pattern is None:
        return
    there, what = pl.col(LOCATION), "topic" if pattern.kind == "topic" else "path"
    fits = pattern.fits(there)
    yield Rule(f"{pattern.kind}.pattern", ~fits, f"the {what} is not {pattern.said}")
    for column in contract.recorded:
        if column.name in pattern.names and column.type is ColumnType.TEXT:
            other = pattern.differs(there, column.name, pl.col(column.name))
            sentence = f"the {what} names another {column.name} than the record"
            yield Rule(f"{pattern.kind}.{column.name}", fits & other, sentence)
