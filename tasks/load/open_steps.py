"""The stored steps of a run that have not ended, for the transform that closes those a robot forgot."""

from collections.abc import Sequence

import polars as pl

from infra.postgres import Pool, translated
from lineage.identifiers import listed, stored_table
from tasks.contract import Contract


async def open_steps(
    pool: Pool, contract: Contract, experiment_id: str, statuses: Sequence[str]
) -> pl.DataFrame:
    """The steps (the contract's columns, n) of a run that stand with one of these statuses, in order."""
    columns = listed(contract.names)
    query = (
        f"SELECT {columns} FROM {stored_table(contract.table)} "
        "WHERE experiment_id = $1 AND status = ANY($2::text[]) ORDER BY step_index, step_id"
    )
    with translated():
        rows = await pool.fetch(query, experiment_id, list(statuses))
    return pl.DataFrame([tuple(row) for row in rows], schema=contract.row_schema, orient="row")
