"""The flow in: one run of a robot, from its HTTP answers to `experiments` and `experiment_steps`.

    extract ─▶ transform ─▶ load ─▶ verify        Prefect tasks around the same functions as the stream's

Started by the watch for each state of a run it sees (`worker/robot_watch.py`), or by hand. A run that is
still going is stored, and revised by the next flow run; one that the robot has forgotten is no failure.
"""

from uuid import UUID

from prefect import flow
from pydantic import Field

from flows import catalog
from flows.batch import artifact
from flows.batch.carrying import Carrying
from flows.batch.runs import current_run
from flows.batch.steps import step
from flows.catalog import Pipeline
from flows.process import limits, stores
from flows.process.counting import measured, metrics
from flows.process.ours import FLOW
from infra import key_file, postgres
from infra.metrics import Stage
from infra.settings import Settings, load
from lineage import naming
from lineage.errors import ContractError, NotFoundError
from tasks.batch import RawBatch, Reference
from tasks.contract import Frozen
from tasks.extract.opentrons import RobotOptions, RobotSource, fetch_run, robot_client
from tasks.load.open_steps import open_steps
from tasks.load.store import Store
from tasks.transform.lost_steps import OPEN, OPEN_STEPS

PIPELINE = "experiments"


class ExperimentRequest(Frozen):
    """Which run to fetch, and of which robot of the settings."""

    robot: str = Field(min_length=1)
    experiment_id: UUID

    def check(self, settings: Settings) -> None:
        """Raises NotFoundError for a robot that the settings do not name."""
        source_of(settings, catalog.read(settings).pipeline(PIPELINE), self.robot)


@flow(name=FLOW + PIPELINE, flow_run_name="{request.robot} {request.experiment_id}", persist_result=False)
async def experiments(request: ExperimentRequest) -> str:
    """Fetch a run, store it and verify what is stored; returns what became of it in one sentence."""
    settings = load()
    pipeline = catalog.read(settings).pipeline(PIPELINE)
    plan = pipeline.load_plan(current_run(PIPELINE))
    with measured(PIPELINE):
        await step("prepare", stores.prepare_tables, pipeline.retry)(settings, plan.contracts.values())
        async with stores.open_store(settings, f"flow {PIPELINE}") as store:
            await step("limit", limits.check, pipeline.retry)(store.pool, pipeline)
            robot = _Robot(settings, pipeline, store, request.robot)
            batch = await step("extract", robot.extract, pipeline.retry)(request.experiment_id)
            if batch is None:
                return f"Robot {request.robot} no longer knows run {request.experiment_id}."
            carrying = Carrying(pipeline, plan, store, key_file.read(settings.digest_keys))
            receipt = await carrying.carry(batch, await robot.reference(request.experiment_id))
            return await artifact.publish(store.pool, PIPELINE, receipt)


class _Robot:
    """Where a flow run reads from."""

    def __init__(self, settings: Settings, pipeline: Pipeline, store: Store, robot: str) -> None:
        self._pipeline, self._store = pipeline, store
        self._source, self._url = source_of(settings, pipeline, robot)

    async def extract(self, experiment_id: UUID) -> RawBatch | None:
        """Page the run and its commands; None when the robot does not know it."""
        with metrics().timed(PIPELINE, Stage.EXTRACT):
            async with robot_client(self._source, self._url) as client:
                asked_at = await postgres.now(self._store.pool)
                return await fetch_run(client, self._source, experiment_id, asked_at)

    async def reference(self, experiment_id: UUID) -> Reference:
        """The run's steps that have not ended, as they stand."""
        contract = self._pipeline.contracts["experiment_steps"]
        read = step("open-steps", open_steps, self._pipeline.retry)
        standing = await read(self._store.pool, contract, str(experiment_id), OPEN)
        return Reference(frames={OPEN_STEPS: standing})


def options_of(pipeline: Pipeline) -> RobotOptions:
    """What the pipeline says of its robots; raises ContractError when it reads from something else."""
    if not isinstance(pipeline.source, RobotOptions):
        raise ContractError(f"{pipeline.name} does not read from robots but from {pipeline.source.type}.")
    return pipeline.source


def source_of(settings: Settings, pipeline: Pipeline, robot: str) -> tuple[RobotSource, str]:
    """A robot of the settings as a source, and its URL; raises NotFoundError."""
    options = options_of(pipeline)
    urls = {known.name: known.url for known in settings.robots}
    if robot not in urls:
        known = ", ".join(urls) or "none"
        raise NotFoundError(f"There is no robot {robot!r} in HEADWATER_ROBOTS (there: {known}): add it.")
    source = RobotSource(
        name=robot,
        dataset=naming.opentrons(robot),
        page_length=options.page_length,
        max_commands=options.max_commands,
        patience=options.patience,
    )
    return source, urls[robot]
