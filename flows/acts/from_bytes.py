"""Which pipeline makes the rows of a batch again: the one whose code of today bears the id in the ledger."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from flows.acts.replay import Readers
from flows.catalog import Catalog
from infra.postgres import Connection
from lineage.errors import ContractError
from lineage.model import Run
from tasks.again.reread import CurrentPipeline
from tasks.batch import Reference
from tasks.look.device_register import read_devices

NOBODY = "no pipeline reads their source today"
ANOTHER = "their code, contract or pipeline is another one today"


@dataclass(slots=True)
class Makers:
    """The pipelines of the catalog, each loaded once, and with the reference state of now."""

    catalog: Catalog
    readers: Readers
    _found: dict[tuple[str, str], CurrentPipeline | str] = field(default_factory=dict)

    def __call__(self, dataset: str, transformation_id: str) -> CurrentPipeline | str:
        """The pipeline that makes again what this version made of a dataset; or why there is none."""
        asked = dataset, transformation_id
        if asked not in self._found:
            self._found[asked] = self._find(*asked)
        return self._found[asked]

    def _find(self, dataset: str, transformation_id: str) -> CurrentPipeline | str:
        why = NOBODY
        for name, pipeline in self.catalog.pipelines.items():
            if not pipeline.source.gives(dataset):
                continue
            try:
                if pipeline.transformation().id == transformation_id:
                    return self.readers.of(dataset, name)
                why = ANOTHER
            except ContractError as error:
                why = f"the pipeline {name} cannot be loaded: {error}"
        return why


async def makers(connection: Connection, catalog: Catalog) -> Makers:
    """What today's code and reference state make again."""
    reference = Reference(frames={"devices": await read_devices(connection)})
    run = Run(id=uuid4(), kind="command", name="prove", started_at=datetime.now(UTC))
    return Makers(catalog, Readers(catalog=catalog, reference=reference, run=run))
