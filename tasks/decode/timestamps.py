"""Timestamps as devices write them, to UTC microseconds.

Accepted:

* RFC 3339 text with a zone (`Z` or an offset), of seconds or any finer precision; what is finer than a
  microsecond is cut off. A space or a small `t` may stand for the `T`, as the RFC allows. A leap second
  (`:60`) is not accepted: no store has a place for it.
* The same without a zone, where the contract says in which `zone` (IANA) it is. A time that comes twice,
  when clocks are put back, is the one that `twice` says.
* A JSON number from 1e8 up to 1e11 is seconds since 1970 UTC (1973 to 5138), from 1e11 up to 1e14
  milliseconds (1973 to 5138), rounded to the microsecond. No number can be meant as both.

Rules: `NAME.zone` (text without a zone), `NAME.ambiguous` and `NAME.nonexistent` (a time that the contract's
zone has twice, or skips), `NAME.format` (any other text, or a day that no calendar has), `NAME.unit` (a
number outside both spans).
"""

from typing import Final, Literal

import polars as pl

from tasks.contract import POLARS_TYPES, Column, ColumnType, Contract, Twice
from tasks.decode import cells

SECONDS_FROM: Final = 1e8
MILLISECONDS_FROM: Final = 1e11
MILLISECONDS_UNTIL: Final = 1e14

_TIME: Final = ".time"
_LOCAL: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
_ZONE: Final = r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_ZONELESS: Final = rf"^{_LOCAL}$"
_ZONED: Final = rf"^{_LOCAL}{_ZONE}$"
TEXT: Final = rf"{_LOCAL}{_ZONE}?"
"""A time as text, with a zone or without."""
_COMMON: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?Z$"
_MICROSECONDS: Final = 6  # digits
_TWICE: Final[dict[Twice | None, Literal["earliest", "latest"]]] = {
    Twice.FIRST: "earliest",
    Twice.SECOND: "latest",
}


def parse(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Replace each timestamp's text and epoch by its time, and name what was wrong in its fault.

    A column that holds times already stays. The rows may come back in another order.
    """
    for column in contract.inputs:
        if column.type is ColumnType.TIMESTAMP and frame.schema[column.name] == pl.String:
            frame = _parse(frame, column)
    return frame


def in_zone(column: Column, local: pl.Expr) -> list[pl.Expr]:
    """The cells of a column of times (Datetime) without a zone, in that of the contract."""
    local = local.dt.cast_time_unit("us")
    fault = pl.when(local.is_not_null() & _in_zone(column, local).is_null()).then(_not_in_zone(column, local))
    return [_in_zone(column, local).alias(column.name), fault.alias(cells.fault(column.name))]


def _in_zone(column: Column, local: pl.Expr) -> pl.Expr:
    """UTC (Datetime, µs) of a local time in the column's zone; null where there is no such time, or two."""
    meant: Literal["earliest", "latest", "null"] = "null"
    if column.twice in _TWICE:
        meant = _TWICE[column.twice]
    here = local.dt.replace_time_zone(column.zone, ambiguous=meant, non_existent="null")
    return here.dt.convert_time_zone("UTC")


def _not_in_zone(column: Column, local: pl.Expr) -> pl.Expr:
    """The rule that a local time breaks which is none in the column's zone, or two."""
    one = local.dt.replace_time_zone(column.zone, ambiguous="earliest", non_existent="null")
    two = pl.when(one.is_not_null()).then(pl.lit(f"{column.name}.ambiguous"))
    return two.otherwise(pl.lit(f"{column.name}.nonexistent"))


def _parse(frame: pl.DataFrame, column: Column) -> pl.DataFrame:
    """Most devices write `…T…Z`, which is read fast; only the rest pays for the other forms."""
    name, text = column.name, pl.col(column.name)
    common = pl.when(text.str.contains(_COMMON)).then(
        _clock(text.str.slice(0, 19)) + _fraction(text.str.slice(20))
    )
    timed = frame.with_columns(common.alias(_TIME))
    if timed[_TIME].null_count():
        known = pl.col(_TIME).is_not_null()
        timed = pl.concat([timed.filter(known), _other_forms(timed.filter(~known), column)], how="diagonal")
    times = pl.col(_TIME).cast(POLARS_TYPES[ColumnType.TIMESTAMP]).alias(name)
    return timed.with_columns(times).drop(_TIME, cells.epoch(name), strict=False)


def _other_forms(frame: pl.DataFrame, column: Column) -> pl.DataFrame:
    name, text = column.name, pl.col(column.name)
    epoch = pl.col(cells.epoch(name))
    head = pl.concat_str(text.str.slice(0, 10), pl.lit("T"), text.str.slice(11, 8))
    fraction = _fraction(text.str.extract(r"\.([0-9]+)").fill_null(""))
    zoned = pl.when(text.str.contains(_ZONED)).then(_clock(head) + fraction - _offset(text))
    zoneless, clock = text.str.contains(_ZONELESS), _clock(head) + fraction
    times, no_zone = pl.coalesce(zoned, _from_epoch(epoch)), pl.lit(f"{name}.zone")
    if column.zone is not None:
        local = pl.when(zoneless).then(clock).cast(pl.Datetime("us"))
        times = pl.coalesce(times, _in_zone(column, local).to_physical())
        no_zone = (
            pl.when(local.is_null()).then(pl.lit(f"{name}.format")).otherwise(_not_in_zone(column, local))
        )
    frame = frame.with_columns(times.alias(_TIME))
    kind = (
        pl.when(epoch.is_not_null())
        .then(pl.lit(f"{name}.unit"))
        .when(zoneless)
        .then(no_zone)
        .when(text.is_not_null())
        .then(pl.lit(f"{name}.format"))
    )
    fault = cells.fault(name)
    known = pl.col(fault) if fault in frame.columns else pl.lit(None, pl.String)
    unread = pl.when(pl.col(_TIME).is_null()).then(kind)
    return frame.with_columns(pl.coalesce(known, unread).alias(fault))


def _clock(head: pl.Expr) -> pl.Expr:
    """Microseconds of the date and time before the fraction; null for a day that no calendar has."""
    return head.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False).to_physical()


def _fraction(text: pl.Expr) -> pl.Expr:
    """Microseconds of a fraction's digits, which a Z may follow; its further digits are cut off."""
    digits = text.str.slice(0, _MICROSECONDS).str.strip_chars_end("Z")
    return digits.str.pad_end(_MICROSECONDS, "0").cast(pl.Int64, strict=False)


def _offset(text: pl.Expr) -> pl.Expr:
    """Microseconds of the zone's offset; 0 for Z."""
    zone = text.str.extract(r"([+-][0-9]{2}:[0-9]{2})$").fill_null("+00:00")
    minutes = zone.str.slice(1, 2).cast(pl.Int64) * 60 + zone.str.slice(4, 2).cast(pl.Int64)
    return pl.when(zone.str.starts_with("-")).then(-minutes).otherwise(minutes) * 60_000_000


def _from_epoch(epoch: pl.Expr) -> pl.Expr:
    """Microseconds of a number of seconds or milliseconds; null for any other number."""
    seconds = pl.when((epoch >= SECONDS_FROM) & (epoch < MILLISECONDS_FROM)).then(epoch * 1e6)
    either = seconds.when((epoch >= MILLISECONDS_FROM) & (epoch < MILLISECONDS_UNTIL)).then(epoch * 1e3)
    return either.round().cast(pl.Int64)
