"""Which pipeline judges the rejected records of a dataset, and the replay of the chosen ones."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from infra.postgres import Pool
from lineage.errors import NotFoundError
from lineage.model import Run
from lineage.version import transformation_of
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.contract import Contract, load_contract
from tasks.load.devices import read_devices
from tasks.load.plan import LoadPlan
from tasks.load.rejected_queries import Origin
from tasks.load.replay import Pipeline, replay
from tasks.load.store import Store
from tasks.transform import experiments, readings
from tasks.transform.place import PlaceFinder

CONTRACTS = Path(__file__).parents[1] / "tasks" / "contracts"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one raw batch's records; no receipt: today's version has judged them before."""

    origin: Origin
    receipt: Receipt | None


async def replay_all(
    store: Store, pool: Pool, origins: Sequence[Origin], *, dry_run: bool = False
) -> AsyncIterator[Replayed]:
    """Replay raw batch after raw batch, each in a transaction of its own."""
    pipelines: dict[str, Pipeline] = {}
    reference = Reference(frames={"devices": await read_devices(pool)})
    run = Run(id=uuid4(), kind="command", name="rejected replay", started_at=datetime.now(UTC))
    for origin in origins:
        if origin.dataset not in pipelines:
            pipelines[origin.dataset] = pipeline_of(origin.dataset, reference, run)
        receipt = await replay(
            store, pipelines[origin.dataset], origin.raw_batch, origin.identities, dry_run=dry_run
        )
        yield Replayed(origin, receipt)


def pipeline_of(dataset: str, reference: Reference, run: Run) -> Pipeline:
    """The pipeline of a dataset, by its system; raises NotFoundError when nothing reads it today."""
    system = dataset.partition(":")[0]
    if system == "mqtt":
        return _sensors(reference, run)
    if system == "opentrons":
        return _experiments(reference, run)
    raise NotFoundError(f"no pipeline reads {dataset}: leave its records out with --dataset")


def _sensors(reference: Reference, run: Run) -> Pipeline:
    contract = load_contract(CONTRACTS / "sensor_readings.yaml")
    places = PlaceFinder()

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        return readings.refine(batch, reference, contract, "mqtt", places)

    plan = LoadPlan(
        pipeline="sensors",
        contracts={contract.table: contract},
        subjects={contract.table: ("device", "device_id")},
        transformation=transformation_of(
            readings.refine, name="sensors", within=("tasks", "lineage"), parameters=_parameters(contract)
        ),
        run=run,
    )
    return Pipeline(plan=plan, refine=refine, reference=reference, alone=True)


def _experiments(reference: Reference, run: Run) -> Pipeline:
    names = ("experiments", "experiment_steps")
    contracts = {name: load_contract(CONTRACTS / f"{name}.yaml") for name in names}

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        return experiments.refine(batch, reference, contracts)

    plan = LoadPlan(
        pipeline="experiments",
        contracts=contracts,
        subjects=dict.fromkeys(names, ("experiment", "experiment_id")),
        transformation=transformation_of(
            experiments.refine,
            name="experiments",
            within=("tasks", "lineage"),
            parameters=_parameters(*contracts.values()),
        ),
        run=run,
    )
    return Pipeline(plan=plan, refine=refine, reference=reference, alone=False)


def _parameters(*contracts: Contract) -> dict[str, object]:
    return {contract.table: contract.model_dump(mode="json") for contract in contracts}
