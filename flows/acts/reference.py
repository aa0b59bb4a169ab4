"""What transforms look values up in as it is now, for those who read stored batches again."""

from collections.abc import Collection

from flows.catalog import Catalog
from infra.postgres import Pool
from tasks.batch import Reference
from tasks.load.reference import ReferenceTables
from tasks.look.device_register import read_devices


async def reference_of(pool: Pool, catalog: Catalog, datasets: Collection[str]) -> Reference:
    """For every pipeline that reads one of these datasets (URIs)."""
    contracts = {
        table: contract
        for pipeline in catalog.pipelines.values()
        if any(map(pipeline.source.gives, datasets))
        for table, contract in pipeline.looks_up.items()
    }
    states = await ReferenceTables(contracts.values()).current(pool) if contracts else {}
    return Reference(frames={"devices": await read_devices(pool)}, tables=states)
