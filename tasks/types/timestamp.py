"""`timestamp`: times as devices write them, to UTC microseconds.

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

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import polars as pl

from tasks.types import companions
from tasks.types.json_number import NUMBER, QUOTED
from tasks.types.text import read_text
from tasks.types.type import NONE, Cell, Digits, Type, no_cell

if TYPE_CHECKING:
    from tasks.contract import Column

UTC_MICROS: Final = pl.Datetime("us", "UTC")

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
_TWICE: Final[dict[str | None, Literal["earliest", "latest"]]] = {"first": "earliest", "second": "latest"}
"""A contract's `twice` → what Polars calls it."""
_DIGITS: Final = r"^[+-]?[0-9]+(?:\.[0-9]+)?$"
_FROM, _UNTIL = -62_135_596_800, 253_402_300_800  # s since 1970 of the years 1 and 10,000
_PER_SECOND: Final = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class Timestamp(Type):
    name = "timestamp"
    said = "a time"
    unread = {  # noqa: RUF012 - nobody changes it
        "zone": "has no time zone",
        "format": "is not an RFC 3339 time",
        "unit": "is a number that is neither seconds nor milliseconds since 1970",
    }
    cell = pl.String()
    has_epoch = True
    captured = {"text": QUOTED, "number": f"({NUMBER})"}  # noqa: RUF012 - nobody changes it
    endless = "unit"
    plain = (str, NONE)

    def polars(self, _digits: Digits) -> pl.DataType:
        return UTC_MICROS

    def postgres(self, _digits: Digits) -> str:
        return "timestamptz"

    def takes(self, _value: object, _digits: Digits) -> bool:
        return False  # no rule of a contract names a time

    def wanted(self, _digits: Digits) -> str:
        return "a time"

    def from_json(self, value: Any) -> Cell:
        return read_text(value)

    def from_text(self, value: pl.Expr, name: str) -> list[pl.Expr]:
        """A time of digits alone is seconds or milliseconds, as in JSON."""
        digits = value.str.contains(_DIGITS)
        epoch = pl.when(digits).then(value).cast(pl.Float64, strict=False)
        return [pl.when(~digits).then(value).alias(name), epoch.alias(companions.epoch(name))]

    def from_typed(self, column: "Column", value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr] | None:
        if dtype == pl.String:
            return self.from_text(value, column.name)
        if isinstance(dtype, pl.Datetime):
            if dtype.time_zone is None and column.zone is None:
                return no_cell(value, column.name, "zone")
            return _from_times(column, value, dtype)
        if dtype.is_numeric():
            epoch = value.cast(pl.Float64).alias(companions.epoch(column.name))
            return [pl.lit(None, pl.String).alias(column.name), epoch]
        return None

    def parse(self, frame: pl.DataFrame, column: "Column") -> pl.DataFrame:
        """Replace the column's text and epoch by its time, and name what was wrong in its fault."""
        return _parse(frame, column)

    def from_key(self, value: Any) -> Any:
        """A time without a zone is UTC."""
        moment = datetime.fromisoformat(str(value))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

    def as_json(self, value: pl.Expr) -> pl.Expr:
        iso = value.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        return pl.when(value.dt.year().is_between(1, 9999)).then(pl.format('"{}"', iso))


def _from_times(column: "Column", value: pl.Expr, dtype: pl.Datetime) -> list[pl.Expr]:
    """Cells of times; one beyond the years that a calendar here has is a fault, and stops nothing."""
    per_second = _PER_SECOND[dtype.time_unit]
    number = value.to_physical()
    there = (number >= _FROM * per_second) & (number < _UNTIL * per_second)
    kept = pl.when(there).then(number).cast(pl.Datetime(dtype.time_unit))
    beyond = pl.when(~there).then(pl.lit(f"{column.name}.format"))
    if dtype.time_zone is None:
        cell, missing = in_zone(column, kept)
        return [cell, pl.coalesce(beyond, missing).alias(companions.fault(column.name))]
    utc = kept.dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    return [utc.alias(column.name), beyond.alias(companions.fault(column.name))]


def in_zone(column: "Column", local: pl.Expr) -> list[pl.Expr]:
    """The cells of a column of times (Datetime) without a zone, in that of the contract."""
    local = local.dt.cast_time_unit("us")
    fault = pl.when(local.is_not_null() & _in_zone(column, local).is_null()).then(_not_in_zone(column, local))
    return [_in_zone(column, local).alias(column.name), fault.alias(companions.fault(column.name))]


def _in_zone(column: "Column", local: pl.Expr) -> pl.Expr:
    """UTC (Datetime, µs) of a local time in the column's zone; null where there is no such time, or two."""
    meant: Literal["earliest", "latest", "null"] = "null"
    if column.twice in _TWICE:
        meant = _TWICE[column.twice]
    here = local.dt.replace_time_zone(column.zone, ambiguous=meant, non_existent="null")
    return here.dt.convert_time_zone("UTC")


def _not_in_zone(column: "Column", local: pl.Expr) -> pl.Expr:
    """The rule that a local time breaks which is none in the column's zone, or two."""
    one = local.dt.replace_time_zone(column.zone, ambiguous="earliest", non_existent="null")
    two = pl.when(one.is_not_null()).then(pl.lit(f"{column.name}.ambiguous"))
    return two.otherwise(pl.lit(f"{column.name}.nonexistent"))


def _parse(frame: pl.DataFrame, column: "Column") -> pl.DataFrame:
    """Most devices write `…T…Z`, which is read fast; only the rest pays for the other forms."""
    name, text = column.name, pl.col(column.name)
    common = pl.when(text.str.contains(_COMMON)).then(
        _clock(text.str.slice(0, 19)) + _fraction(text.str.slice(20))
    )
    timed = frame.with_columns(common.alias(_TIME))
    if timed[_TIME].null_count():
        known = pl.col(_TIME).is_not_null()
        timed = pl.concat([timed.filter(known), _other_forms(timed.filter(~known), column)], how="diagonal")
    times = pl.col(_TIME).cast(UTC_MICROS).alias(name)
    return timed.with_columns(times).drop(_TIME, companions.epoch(name), strict=False)


def _other_forms(frame: pl.DataFrame, column: "Column") -> pl.DataFrame:
    name, text = column.name, pl.col(column.name)
    epoch = pl.col(companions.epoch(name))
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
    fault = companions.fault(name)
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
