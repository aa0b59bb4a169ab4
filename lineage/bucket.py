"""Buckets: the spans of time by which a derived table is made again, in UTC.

Each is made of whole ones of those before it, so that one derived table can be made from another.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final


class Bucket(StrEnum):
    """How long a bucket is; the shortest first."""

    MINUTE = "minute"
    FIVE_MINUTES = "5 minutes"
    QUARTER = "15 minutes"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def start(self, moment: datetime) -> datetime:
        """When the bucket begins that holds a moment (with a zone)."""
        moment = moment.astimezone(UTC)
        if self is Bucket.MONTH:
            return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return moment - (moment - _FIRST) % _SPANS[self]

    def end(self, start: datetime) -> datetime:
        """When the bucket ends that begins then; the end is the start of the next one."""
        if self is Bucket.MONTH:
            return (start + timedelta(days=32)).replace(day=1)
        return start + _SPANS[self]

    def start_sql(self, time: str) -> str:
        """`start` of a SQL expression of type timestamptz; null where it is null."""
        if self in (Bucket.FIVE_MINUTES, Bucket.QUARTER):
            return f"date_bin('{self}', {time}, {FIRST_SQL})"
        return f"date_trunc('{self}', {time}, 'UTC')"

    def label(self, start: datetime) -> str:
        """What the bucket that begins then is called: `2026-01-31T10Z`."""
        return f"{start:{_LABELS[self][0]}}"

    def label_sql(self, start: str) -> str:
        """`label` of a SQL expression of type timestamptz."""
        return f"to_char({start} AT TIME ZONE 'UTC', '{_LABELS[self][1]}')"

    @property
    def fact(self) -> str:
        """Under which name a node of the graph has its start; hours were the first, and keep theirs."""
        return "hour" if self is Bucket.HOUR else "bucket"

    def holds(self, other: "Bucket") -> bool:
        """Whether it is as long as the other, or longer."""
        order = list(Bucket)
        return order.index(self) >= order.index(other)


FACTS: Final = ("bucket", "hour")
"""The names that `Bucket.fact` gives."""
FIRST_SQL: Final = "timestamptz '0001-01-01 00:00:00+00'"
"""Where `date_bin` begins to count."""
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_SPANS: Final[Mapping[Bucket, timedelta]] = {
    Bucket.MINUTE: timedelta(minutes=1),
    Bucket.FIVE_MINUTES: timedelta(minutes=5),
    Bucket.QUARTER: timedelta(minutes=15),
    Bucket.HOUR: timedelta(hours=1),
    Bucket.DAY: timedelta(days=1),
}
_OF_MINUTES: Final = "%Y-%m-%dT%H:%MZ", 'FMYYYY-MM-DD"T"HH24:MI"Z"'
_LABELS: Final[Mapping[Bucket, tuple[str, str]]] = {
    Bucket.MINUTE: _OF_MINUTES,
    Bucket.FIVE_MINUTES: _OF_MINUTES,
    Bucket.QUARTER: _OF_MINUTES,
    Bucket.HOUR: ("%Y-%m-%dT%HZ", 'FMYYYY-MM-DD"T"HH24"Z"'),
    Bucket.DAY: ("%Y-%m-%d", "FMYYYY-MM-DD"),
    Bucket.MONTH: ("%Y-%m", "FMYYYY-MM"),
}
"""As `strftime` and as `to_char` write it."""
