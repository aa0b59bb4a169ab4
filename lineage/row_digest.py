"""What a commit put into a table, as one number that nobody makes without a key.

HMAC-SHA256 over a header and the rows as Postgres' binary COPY format writes them, in the order of their key
(text by its bytes):

    header = canonical JSON {"table", "columns", "bucket"} and a line feed
    row    = number of columns (int16), then of each its length (int32, -1: null) and what its type's send
             function gives

So a digest can be made again with psql and openssl (docs/proof.md), and the bytes that are sent to Postgres
are the bytes that are hashed. Without a key the empty one is taken: then only the seals and their anchors
stand against a forger, who needs a second preimage of SHA-256.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from .canonical import canonical_json
from .identifiers import listed, quoted
from .keys import Key
from .model import micros
from .ports import Connection

VERSION: Final = 2
"""The first was a sum of row hashes (`digest.row_hashes`)."""

COPY_HEADER: Final = 19
"""Bytes before the first row of a binary COPY: signature, flags, no extension."""
COPY_TRAILER: Final = 2

GROUP: Final = "its group"
"""What rows are told apart by; no contract's column has a space in its name."""

_BYTES: Final[Mapping[type[pl.DataType], int]] = {
    pl.Float64: 8,
    pl.Int64: 8,
    pl.Datetime: 8,
    pl.Int32: 4,
    pl.Boolean: 1,
}
"""How long a value of a fixed type is in binary COPY."""


def row_digest(
    key: Key | None, table: str, columns: Sequence[str], bucket: datetime | None = None
) -> hmac.HMAC:
    """The digest of a table's rows of one commit, to be fed with them; `bucket`: when theirs begins."""
    header = {"table": table, "columns": list(columns), "bucket": None if bucket is None else micros(bucket)}
    secret = key.secret if key else b""
    return hmac.new(secret, f"{canonical_json(header)}\n".encode(), "sha256")


def columns_id(columns: Sequence[str]) -> str:
    """How the ledger names the columns that a digest covers: 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(list(columns)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Rows:
    """Stored rows of one table: a SQL relation with `columns`, `key` and GROUP."""

    relation: str
    args: Sequence[Any]  # of the relation
    columns: Mapping[str, pl.DataType]  # that are hashed, in order
    key: Mapping[str, pl.DataType]
    later: Sequence[str] = ()  # columns that must be null, since these rows were made before them


async def feed(connection: Connection, rows: Rows, digests: Mapping[Any, hmac.HMAC]) -> set[Any]:
    """Feed the rows of each group to its digest; returns the groups with a value in a later column.

    `digests`: group → digest; the relation must have no other groups. Call it inside a transaction that sees
    one snapshot: how long each group is and what is in it are two questions.
    """
    measured = _LENGTHS.format(
        length=_length(rows.columns), later=_any_of(rows.later), relation=rows.relation, group=quoted(GROUP)
    )
    lengths = await connection.fetch(measured, *rows.args)
    slices = _Slices([(digests[row[GROUP]].update, row["length"]) for row in lengths])
    order = ", ".join(f"{quoted(name)}{_collated(type_)}" for name, type_ in rows.key.items())
    query = f"SELECT {listed(rows.columns)} FROM ({rows.relation}) stored ORDER BY {quoted(GROUP)}, {order}"
    await connection.copy_from_query(query, *rows.args, output=slices.write, format="binary")
    return {row[GROUP] for row in lengths if row["later"]}


_LENGTHS = """
SELECT {group}, sum({length})::bigint AS length, bool_or({later}) AS later FROM ({relation}) stored
GROUP BY {group} ORDER BY {group}
"""


def _length(columns: Mapping[str, pl.DataType]) -> str:
    """SQL: how many bytes a row is in binary COPY."""
    return " + ".join([f"{2 + 4 * len(columns)}", *(_field(name, type_) for name, type_ in columns.items())])


def _field(name: str, type_: pl.DataType) -> str:
    if type_ == pl.String:
        return f"coalesce(octet_length({quoted(name)}::text), 0)"
    if isinstance(type_, pl.Decimal):
        return f"coalesce(octet_length(numeric_send({quoted(name)})), 0)"
    return f"CASE WHEN {quoted(name)} IS NULL THEN 0 ELSE {_BYTES[type_.base_type()]} END"


def _any_of(later: Sequence[str]) -> str:
    return " OR ".join(f"{quoted(name)} IS NOT NULL" for name in later) or "false"


def _collated(type_: pl.DataType) -> str:
    """Text in the order of its bytes, whatever the database's collation is."""
    return ' COLLATE "C"' if type_ == pl.String else ""


class _Slices:
    """Cuts a binary COPY into pieces of known length, each for its taker."""

    def __init__(self, takers: Iterable[tuple[Callable[[bytes], None], int]]) -> None:
        self._takers = iter(takers)
        self._take, self._left = next(self._takers, (_nobody, 0))
        self._skip = COPY_HEADER

    async def write(self, data: bytes) -> None:
        """The next bytes of the COPY; what is beyond the last piece, its trailer, is left."""
        view = memoryview(data)[self._skip :]
        self._skip = max(0, self._skip - len(data))
        while view:
            while not self._left:
                self._take, self._left = next(self._takers, (_nobody, len(view)))
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            self._take(piece)  # type: ignore[arg-type]


def _nobody(_piece: bytes) -> None:
    """What no group has: the trailer, or bytes that were not there when the groups were measured."""
