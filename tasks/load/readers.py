"""Two pipelines may read one dataset: which of them a rejected record is of.

The identity of a record is made of its dataset, place and bytes. The pipeline that read the dataset first
leaves it at that, every other one adds its name: so the same record, rejected by both, waits for both, and no
identity of before changes. Who was first is written down once and for ever.
"""

from collections.abc import MutableMapping

from lineage.ports import Connection
from tasks.load.plan import LoadPlan

_CLAIM = "INSERT INTO store.first_readers (dataset, pipeline) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_FIRST = "SELECT pipeline FROM store.first_readers WHERE dataset = $1"


async def reader_of(
    connection: Connection,
    known: MutableMapping[str, str],
    plan: LoadPlan,
    dataset: str,
    *,
    brings: bool = False,
) -> str | None:
    """What the plan's pipeline adds to identities of a dataset; None: nothing.

    `known`: dataset → its first reader, as far as it was asked. One that `brings` records is the first if
    there is none yet; one that reads them again is not.
    """
    if dataset not in known:
        if brings:
            await connection.execute(_CLAIM, dataset, plan.pipeline)
        first = await connection.fetchval(_FIRST, dataset)
        if first is None:
            return None
        known[dataset] = first
    return None if known[dataset] == plan.pipeline else plan.pipeline
