"""Every transform by its name: one file in this folder and one line here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any

import polars as pl

from lineage import naming
from lineage.errors import ContractError, HeadwaterError, TransformError
from lineage.version import beside, covered
from tasks.batch import RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.our_code import OURS
from tasks.pattern import Pattern
from tasks.transform import experiments, records
from tasks.transform.columns import Columns, opaque
from tasks.transform.lost_steps import OPEN, OPEN_STEPS
from tasks.transform.steps.kinds import Steps
from tasks.transform.steps.step import Step

Refine = Callable[[RawBatch, Reference], Refined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a pipeline says to its transform, beside the contracts of its tables."""

    source_name: str
    pattern: Pattern | None = None  # of the source's topics or paths
    steps: Sequence[Step] = ()
    looks_up: Mapping[str, Contract] = field(default_factory=dict)  # reference tables of its steps


Rows = Mapping[str, Sequence[str]]
"""Which rows of a table: of each of these columns, its value is one of those."""

LookedUp = Callable[[Reference], Mapping[str, str]]
"""Dataset (URI) → the name of its state, of all that a transform looks values up in."""


@dataclass(frozen=True, slots=True)
class Transform:
    """`function` is what its version is taken from; `bind` gives the step for a pipeline's contracts.

    `looked_up` says for a pipeline what beside its messages decides a value, other than code, contracts and
    libraries.
    `columns` says for those contracts and a source (URI) what each column comes from.
    `row_local`: each message is one record, judged without its neighbours in the batch (`again/replay.py`).
    `concludes_from`: frame of `Reference` → table whose standing rows it holds, from which rows
    are concluded that stand in no message; `standing` says which of them a batch needs.
    A function that looks at neighbours gives no row of `batch.left_out`, and lets none of it take a key.
    """

    function: Callable[..., Refined]
    bind: Callable[[Mapping[str, Contract], Parameters], Refine]
    columns: Callable[[Mapping[str, Contract], str, Parameters], Columns]
    looked_up: Callable[[Mapping[str, Contract], Parameters], LookedUp]
    row_local: bool = False
    takes_steps: bool = False
    names_source: bool = False  # whether its rows hold the pipeline's `source_name`
    concludes_from: Mapping[str, str] = field(default_factory=dict)
    standing: Callable[[RawBatch], Rows] = lambda _batch: {}


def _readings(contracts: Mapping[str, Contract], parameters: Parameters) -> Refine:
    contract = _only(contracts)
    return partial(
        records.refine,
        decoder=Decoder(contract),
        pattern=parameters.pattern,
        steps=Steps(contract, parameters.steps, parameters.looks_up),
    )


def _only(contracts: Mapping[str, Contract]) -> Contract:
    if len(contracts) > 1:
        raise ContractError(f"`readings` fills one table, and not {', '.join(contracts)}: leave one of them.")
    return next(iter(contracts.values()))


def _readings_columns(contracts: Mapping[str, Contract], source: str, parameters: Parameters) -> Columns:
    contract = _only(contracts)
    steps = Steps(contract, parameters.steps, parameters.looks_up)
    return records.columns(contract, source, parameters.pattern, steps)


def _readings_looked_up(contracts: Mapping[str, Contract], parameters: Parameters) -> LookedUp:
    return Steps(_only(contracts), parameters.steps, parameters.looks_up).states


def _anything(_contracts: Mapping[str, Contract], _parameters: Parameters) -> LookedUp:
    """Of a function that says nothing of what it looks up: all that it is given."""
    return lambda reference: {naming.postgres(name): said for name, said in reference.digests.items()}


def _nothing(_contracts: Mapping[str, Contract], _parameters: Parameters) -> LookedUp:
    """Of a transform whose rows are made of their messages alone; a row concluded from others is in none."""
    return lambda _reference: {}


def _hidden(contracts: Mapping[str, Contract], source: str, _parameters: Parameters) -> Columns:
    """Of a function that says nothing of its columns."""
    return {table: opaque(source, contract.names) for table, contract in contracts.items()}


def _experiments(contracts: Mapping[str, Contract], parameters: Parameters) -> Refine:
    experiments.check(contracts)
    return partial(experiments.refine, contracts=contracts, source_name=parameters.source_name)


def _experiments_columns(contracts: Mapping[str, Contract], source: str, parameters: Parameters) -> Columns:
    return experiments.columns(contracts, source, parameters.source_name)


def _open_steps(batch: RawBatch) -> Rows:
    """The steps of the run that the batch is of, as far as they have not ended."""
    run = batch.position.detail["run_id"] if batch.position else ""
    return {"experiment_id": (str(run),), "status": OPEN}


TRANSFORMS: dict[str, Transform] = {
    "readings": Transform(
        records.refine,
        _readings,
        _readings_columns,
        _readings_looked_up,
        row_local=True,
        takes_steps=True,
    ),
    "experiments": Transform(
        experiments.refine,
        _experiments,
        _experiments_columns,
        _nothing,
        names_source=True,
        concludes_from={OPEN_STEPS: "experiment_steps"},
        standing=_open_steps,
    ),
}


def bound(name: str, contracts: Mapping[str, Contract], parameters: Parameters) -> Refine:
    """The transform of a pipeline; what comes of it says what it was looked up in.

    It fails with TransformError alone: a mistake in it must not look like anything else.
    """
    of = transform(name)
    refine, looked_up = of.bind(contracts, parameters), of.looked_up(contracts, parameters)

    def run(batch: RawBatch, reference: Reference) -> Refined:
        try:
            return replace(refine(batch, reference), looked_up=looked_up(reference))
        except (Exception, pl.exceptions.PanicException) as error:
            if isinstance(error, (HeadwaterError, MemoryError)):
                raise
            raise TransformError(f"The transform failed, mend it: {type(error).__name__}: {error}") from error

    return run


def transform(name: str) -> Transform:
    """A registered transform, or your own as `module:function` of (batch, reference, contracts)."""
    if ":" not in name:
        if name not in TRANSFORMS:
            raise ContractError(f"there is no transform {name!r}: choose from {', '.join(TRANSFORMS)}")
        return TRANSFORMS[name]
    function = _custom(name)

    def bind(contracts: Mapping[str, Contract], _parameters: Parameters) -> Refine:
        return partial(function, contracts=contracts)

    return Transform(function, bind, _hidden, _anything)


def _custom(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        function: Callable[..., Any] = getattr(import_module(module), attribute)
        covered(function, within=(*OURS, *beside(function)))  # as it was loaded, and so now
    except Exception as error:  # whatever a module of a user's does, the other pipelines are read
        why = f"{type(error).__name__}: {error}"
        raise ContractError(f"the transform {name} cannot be loaded: {why}") from error
    return function
