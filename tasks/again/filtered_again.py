"""What is said to be filtered of a batch, against the same made again from its messages."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from tasks.again.differing import place
from tasks.batch import PLACE_SCHEMA, Refined
from tasks.load.plan import Commit
from tasks.load.rejected import identities
from tasks.load.row_id import ROW, without

_OF_BATCH = "SELECT sequence, part FROM store.filtered WHERE batch = $1 ORDER BY sequence, part"
_KNOWN = "SELECT identity FROM store.filtered WHERE identity = ANY($1::bytea[]) AND batch <= $2"


@dataclass(slots=True)
class FilteredAgain:
    """One batch; `stored`: table → the rows that it stored. `compared`: records that are filtered again."""

    commit: Commit
    refined: Refined
    stored: Mapping[str, pl.DataFrame]
    compared: int = 0

    async def differences(self, erased: Collection[int]) -> list[str]:
        """Records that are stored as filtered, and that no step leaves out today; without those `erased`."""
        rows = await self.commit.connection.fetch(_OF_BATCH, self.commit.number)
        said = pl.DataFrame([tuple(row) for row in rows], schema=PLACE_SCHEMA, orient="row")
        said = said.filter(~pl.col("sequence").is_in(list(erased)))
        other = without(said, self.refined.filtered_rows)
        self.compared = said.height - other.height
        return [
            f"{place('filtered', self.commit.number, *at)}: it is stored as filtered, and its message makes "
            "no record that a step leaves out"
            for at in other.iter_rows()
        ]

    async def miscounted(self, recorded: int) -> list[str]:
        """Whether the ledger's number of filtered records is one that these messages make.

        A record that came again stays what it was: of those that are filtered today only what was known so by
        then counts, and of the others what was known so, where it is not stored (`load/filtered.py`).
        """
        least = self.refined.superseded + await self._known(self.refined.filtered_rows)
        others = [without(rows, self.stored[table]) for table, rows in self.refined.accepted.items()]
        most = least
        for rows in (*others, self.refined.rejected):
            most += await self._known(rows)
        if least <= recorded <= most:
            return []
        made = f"{least}" if least == most else f"{least} to {most}"
        return [f"ledger, batch {self.commit.number}: {recorded} filtered, and its messages make {made}"]

    async def _known(self, rows: pl.DataFrame) -> int:
        """How many of these rows (with `sequence` and `part`, n) are of records filtered by then."""
        if rows.is_empty():
            return 0
        ids = identities(self.commit, rows.select(ROW))
        known = await self.commit.connection.fetch(_KNOWN, ids.unique().to_list(), self.commit.number)
        return int(ids.is_in(pl.Series([row["identity"] for row in known], dtype=pl.Binary).implode()).sum())
