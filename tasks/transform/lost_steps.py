"""Steps that a robot began and knows nothing of any more: it was restarted while they ran.

Such a run comes back as ended, without its commands, and what was stored would be `running` for ever. So an
ended run closes its open steps: each gets a revision with the status `lost`, made from the run's own message.
"""

import polars as pl

from tasks.layout import without_places
from tasks.transform.robot_pages import Pages

OPEN_STEPS = "open_steps"
"""The frame of `Reference` with the stored steps (the contract's columns, n) that have not ended."""
OPEN = ("queued", "running")
ENDED = ("succeeded", "failed", "stopped")
LOST = "lost"


def lost_steps(
    standing: pl.DataFrame, runs: pl.DataFrame, pages: Pages, left_out: pl.DataFrame | None
) -> pl.DataFrame:
    """The open steps of accepted `runs` (n) that ended and whose robot has no command of them, as `lost`.

    `standing` with `sequence` (of the run's message) and `part` (negative: it stands in no message), but
    what is `left_out` (PLACE_SCHEMA). No row while anything in the batch could not be read: it may be one of
    them.
    """
    ended = runs.filter(pl.col("status").is_in(ENDED))
    told = {str(command.data.get("id")) for command in pages.commands}
    if pages.unreadable:
        ended = ended.clear()
    lost = standing.filter(pl.col("status").is_in(OPEN) & ~pl.col("step_id").is_in(told)).join(
        ended.select("experiment_id", "sequence"), on="experiment_id", maintain_order="left"
    )
    place = -1 - pl.int_range(pl.len(), dtype=pl.Int32)
    lost = lost.with_columns(status=pl.lit(LOST), part=place)
    return lost if left_out is None else without_places(lost, left_out)
