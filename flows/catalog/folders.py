"""Pipeline folders read: file by file, so that a broken one is left out and holds up no other."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from flows.catalog.catalog import Broken, Catalog, Kind, sentence
from flows.catalog.definition import Definition, Table
from flows.catalog.derived import made_of
from flows.catalog.file_columns import check_columns, check_names
from flows.catalog.pipeline import ACTS, FLOWS, Pipeline
from infra.local.addresses import near
from infra.settings import Settings
from lineage.errors import ContractError
from lineage.version import keep
from tasks.contract import ColumnType, Contract, Metadata, OnReturn
from tasks.derived.aggregate import Draft, read_draft
from tasks.extract.files import FileOptions
from tasks.extract.pull import Pull
from tasks.extract.sources import SourceOptions
from tasks.extract.stream import Stream
from tasks.our_code import OURS
from tasks.table_definition import read_table
from tasks.transform.steps.kinds import StepError, check, looked_up
from tasks.transform.transforms import transform
from tasks.trigger import Trigger, TriggerDefinition
from tasks.yaml_file import line_of, read_yaml, within

SHIPPED: Final = Path(__file__).parents[2] / "pipelines"
OF_FOLDER: Final = "pipeline"
"""The file of a folder's pipeline that is called like the folder."""
TRIGGER_OF_FOLDER: Final = "trigger"
"""The file of its trigger that is."""

Defined = TypeVar("Defined")
Found = dict[str, tuple[Path, Defined]]
"""Name → where it is defined, and what."""
Written = tuple[Definition, Contract | None]
"""A pipeline as its file says it, and the contract of the table that stands in it."""


def read(settings: Settings) -> Catalog:
    """The shipped folders and those of the settings."""
    return read_directories((SHIPPED, *settings.pipelines))


def read_directories(directories: Iterable[Path]) -> Catalog:
    """Every folder of the directories, in their order: of two things of one name the first one stands."""
    keep(OURS)
    broken: list[Broken] = []
    folders = [folder for directory in directories for folder in _folders(directory, broken)]

    tables = _each(_files(folders, "tables"), broken, "table", _table)
    triggers = _each(_triggers(folders), broken, "trigger", _trigger)
    written = _each(_pipelines_of(folders), broken, "pipeline", _written)
    tables, written = _with_own_tables(tables, written, broken)
    tables, written = _with_set_columns(tables, written, broken)
    contracts = {name: contract for name, (_, contract) in tables.items()}
    drafts = _each(_files(folders, "derived"), broken, "table", read_draft, taken=tables)
    drafts = _with_names_of_their_own(drafts, written, broken)
    derived = made_of(drafts, contracts, broken)
    contracts |= {name: aggregate.contract for name, aggregate in derived.items()}
    pipelines = _pipelines(written, contracts, broken)
    return Catalog(
        pipelines={name: pipeline for name, (_, pipeline) in sorted(pipelines.items())},
        contracts=dict(sorted(contracts.items())),
        derived=derived,
        triggers={name: trigger for name, (_, trigger) in sorted(triggers.items())},
        broken=tuple(broken),
    )


def _folders(directory: Path, broken: list[Broken]) -> Iterator[Path]:
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        why = f"this directory of pipeline folders cannot be read: {error.strerror}"
        broken.append(Broken("directory", directory, directory.name, f"{near(directory)}: {why}."))
        return
    for entry in entries:
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            yield entry
        elif entry.suffix in (".yaml", ".yml"):
            why = "a pipeline stands in a folder: move it into one of its own, or name the directory above"
            broken.append(Broken("pipeline", entry, entry.stem, f"{near(entry)}: {why}."))


def _files(folders: Iterable[Path], room: str) -> Iterator[Path]:
    return (path for folder in folders for path in sorted((folder / room).glob("*.y*ml")))


def _pipelines_of(folders: Iterable[Path]) -> Iterator[Path]:
    return (path for path in _files(folders, ".") if path.stem != TRIGGER_OF_FOLDER)


def _triggers(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.glob(f"{TRIGGER_OF_FOLDER}.y*ml"))
        yield from _files((folder,), "triggers")


def _each(
    files: Iterable[Path],
    broken: list[Broken],
    kind: Kind,
    load: Callable[[Path], Defined],
    taken: Mapping[str, tuple[Path, object]] = {},
) -> Found[Defined]:
    """What the files define, by name; of those that cannot be, or take a name that is taken, why."""
    found: Found[Defined] = {}
    for path in files:
        name = _name(path)
        if path.suffix != ".yaml":
            broken.append(Broken(kind, path, name, f"{near(path)}: call it {path.stem}.yaml, to be read."))
            continue
        if there := (found.get(name) or taken.get(name)):
            why = f"there is a {kind} {name} already, in {near(there[0])}: give one of the two another name"
            broken.append(Broken(kind, path, name, f"{near(path)}: {why}."))
            continue
        try:
            found[name] = path, load(path)
        except ContractError as error:
            broken.append(Broken(kind, path, name, f"{near(path)}: {sentence(error)}"))
    return found


def _with_own_tables(
    tables: Found[Contract], written: Found[Written], broken: list[Broken]
) -> tuple[Found[Contract], Found[Written]]:
    """With the tables that stand in pipelines; a pipeline whose table has another's name is left out."""
    found, kept = dict(tables), {}
    for name, (path, (definition, own)) in written.items():
        if own and own.table in found:
            why = f"there is a table {own.table} already, in {near(found[own.table][0])}: rename one of them"
            broken.append(Broken("pipeline", path, name, f"{near(path)}: {why}."))
            continue
        if own:
            found[own.table] = path, own
        kept[name] = path, (definition, own)
    return found, kept


def _with_set_columns(
    tables: Found[Contract], written: Found[Written], broken: list[Broken]
) -> tuple[Found[Contract], Found[Written]]:
    """With the columns marked that steps set; a pipeline whose steps cannot, or set others, is left out."""
    found, kept = dict(tables), {}
    contracts = {name: contract for name, (_, contract) in tables.items()}
    first: dict[str, tuple[str, Definition]] = {}  # table → the first pipeline of it
    for name, (path, (definition, own)) in written.items():
        mine = [table.name for table in definition.all_tables if table.name in tables]
        try:
            for table in mine:
                _set_alike(table, definition, *first.get(table, (name, definition)))
            filled = {table: _with_set(contracts[table], definition, contracts) for table in mine}
        except StepError as error:
            why = f"{line_of(path, ('steps', error.number))}: {sentence(error)}"
            broken.append(Broken("pipeline", path, name, f"{near(path)}: {why}"))
            continue
        except ContractError as error:
            broken.append(Broken("pipeline", path, name, f"{near(path)}: {sentence(error)}"))
            continue
        first = {**dict.fromkeys(mine, (name, definition)), **first}
        found |= {table: (tables[table][0], contract) for table, contract in filled.items()}
        kept[name] = path, (definition, own)
    return found, kept


def _set_alike(table: str, definition: Definition, first: str, other: Definition) -> None:
    if set(definition.sets) != set(other.sets):
        raise ContractError(f"its steps set other columns of {table} than {first}'s: let both set the same.")


def _with_set(contract: Contract, definition: Definition, tables: Mapping[str, Contract]) -> Contract:
    """The contract of a table as a pipeline's steps fill it; raises ContractError where they cannot."""
    if not definition.steps:
        return contract
    if ":" in definition.transform or not transform(definition.transform).takes_steps:
        raise ContractError(f"the transform {definition.transform} takes no steps: leave them out.")
    try:
        filled = contract.with_set(definition.sets)
    except ValidationError as error:
        raise ContractError(f"steps: {error.errors()[0]['msg']}") from error
    check(filled, definition.steps, tables)
    return filled


def _pipelines(
    written: Found[Written], contracts: Mapping[str, Contract], broken: list[Broken]
) -> Found[Pipeline]:
    found: Found[Pipeline] = {}
    for name, (path, (definition, _)) in written.items():
        try:
            found[name] = path, _pipeline(name, definition, contracts)
        except ContractError as error:
            broken.append(Broken("pipeline", path, name, f"{near(path)}: {sentence(error)}"))
    return found


def _name(path: Path) -> str:
    return path.parent.name if path.stem in (OF_FOLDER, TRIGGER_OF_FOLDER) else path.stem


def _table(path: Path) -> Contract:
    contract = read_table(path)
    if contract.table != path.stem:
        raise ContractError(
            f"it is the table {contract.table}: name the file {contract.table}.yaml, "
            "or leave `name` out of it."
        )
    return _filled(contract)


def _filled(contract: Contract) -> Contract:
    """The contract of a table that pipelines fill."""
    if contract.on_return is OnReturn.RECOMPUTE:
        raise ContractError("a table with `on_return: recompute` is derived: put it into `derived/`.")
    return contract


def _with_names_of_their_own(
    drafts: Found[Draft], written: Found[Written], broken: list[Broken]
) -> Found[Draft]:
    """A transformation is called like the derived table that it makes, or like its pipeline."""
    for name in sorted(drafts.keys() & written.keys()):
        path, (there, _) = drafts[name][0], written[name]
        why = f"there is a pipeline {name} already, in {near(there)}: give one of the two another name"
        broken.append(Broken("table", path, name, f"{near(path)}: {why}."))
    return {name: each for name, each in drafts.items() if name not in written}


def _written(path: Path) -> Written:
    def with_own_table(said: Definition) -> Written:
        try:
            return said, _filled(said.table.contract(said.table.name)) if said.table else None
        except ValidationError as error:
            raise within(("table",), error) from error

    return read_yaml(path, Definition, with_own_table)


def _trigger(path: Path) -> Trigger:
    said = read_yaml(path, TriggerDefinition, lambda trigger: trigger)
    try:
        return Trigger(**{**dict(said), "name": _name(path)})
    except ValueError as error:
        raise ContractError(
            f"a trigger cannot be called {_name(path)!r}: write small letters, digits and -, at most 63."
        ) from error


def _pipeline(name: str, definition: Definition, contracts: Mapping[str, Contract]) -> Pipeline:
    if isinstance(definition.source, Pull) and name in FLOWS:
        raise ContractError(f"{name} is a flow of ours: give the pipeline another name.")
    if name in ACTS:
        raise ContractError(f"{name} is an act of ours in the record: give the pipeline another name.")
    own = ":" in definition.transform
    if definition.source_name and (own or not transform(definition.transform).names_source):
        why = f"`source_name` does nothing with the transform {definition.transform}"
        step = f"- set: {{source_name: \"'{definition.source_name}'\"}}"
        raise ContractError(f"{why}: leave it out, and say `{step}` in `steps` where a column holds it.")
    if not own:
        transform(definition.transform)  # there is one
    tables = definition.all_tables
    found = {table.name: _contract_of(table, contracts) for table in tables}
    if len(found) < len(tables):
        raise ContractError("it names a table twice: leave one of them out.")
    looks_up = {table: contracts[table] for table in looked_up(definition.steps)}
    said = {**dict(definition), "table": None, "tables": tables, "name": name, "contracts": found}
    try:
        pipeline = Pipeline(**said | {"source_name": definition.source_name or name, "looks_up": looks_up})
    except ValueError as error:
        raise ContractError(
            f"a pipeline cannot be called {name!r}: write small letters, digits and -, at most 63."
        ) from error
    if isinstance(pipeline.source, FileOptions):
        check_columns(pipeline.source, found.values())
    if ":" not in definition.transform:  # a function of one's own reads what it wants
        mine = definition.table.name if definition.table else None
        for table, contract in found.items():
            _check_metadata(contract, pipeline.source)
            _check_derived(contract, pipeline)
            if isinstance(pipeline.source, FileOptions):
                check_names(pipeline.source, contract, whole=table == mine)
    return pipeline


def _contract_of(table: Table, contracts: Mapping[str, Contract]) -> Contract:
    """The contract of a pipeline's table, which has the columns that the pipeline names."""
    if table.name not in contracts:
        nearest = get_close_matches(table.name, contracts, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"choose from {', '.join(contracts)}."
        raise ContractError(f"there is no table {table.name}, or its contract is broken: {hint}")
    contract = contracts[table.name]
    if contract.on_return is OnReturn.RECOMPUTE:
        raise ContractError(f"{table.name} is derived from other tables: a pipeline cannot fill it.")
    about = {table.about.column: ColumnType.TEXT} if table.about else {}
    for name, kind in (about | dict.fromkeys(table.uses.values(), ColumnType.JSON)).items():
        if name not in contract.names or contract.column(name).type is not kind:
            raise ContractError(
                f"it says that {name} names what a row of {table.name} is about or used, and that table has "
                f"no such column of type {kind}: correct one of the two."
            )
    return contract


def _check_derived(contract: Contract, pipeline: Pipeline) -> None:
    """Raise ContractError where a column would be computed by nobody."""
    if contract.derived and transform(pipeline.transform).takes_steps:
        raise ContractError(
            f"{contract.table}: {contract.derived[0]} is `derived`, and {pipeline.transform} derives none: "
            "leave `derived` out, and let a step set it: place, lookup, weather or set (docs/steps.md)."
        )


def _check_metadata(contract: Contract, source: SourceOptions) -> None:
    """Raise ContractError where a column is read from something that the source does not give.

    And where a record says nothing, or names a part too and means another word by it.
    """
    pattern = source.location_pattern
    if not contract.recorded:
        raise ContractError(f"{contract.table}: no column is read from the record: leave one without `from`.")
    for column in contract.recorded:
        if pattern and column.name in pattern.names and column.map is not None:
            raise ContractError(
                f"{contract.table}: {column.name} is read from the record by a map, and is a part of the "
                f"{pattern.kind} too: give the part another name."
            )
    for column in contract.inputs:
        if column.metadata is not None and not column.is_arrival:
            _check_given(f"{contract.table}: {column.name}", column.metadata, source)


def _check_given(column: str, of: Metadata, source: SourceOptions) -> None:
    """Raise ContractError where a source does not give what a column is read from."""
    if of.is_of_envelope:
        if not (isinstance(source, Stream) and source.has_envelope):
            raise ContractError(
                f"{column} is read by {{{of.kind}: {of.name}}}, which Kafka alone has, and the source is "
                f"{source.type}: read it from the record."
            )
        return
    pattern = source.location_pattern
    names = pattern.names if pattern and pattern.kind == of.kind else ()
    if of.name not in names:
        there = f"it has {', '.join(names)}" if names else "it has no names"
        where = "topic" if of.kind == "topic" else "pattern"
        raise ContractError(
            f"{column} is read from {of.name} in the {where}, and {there}: "
            f"write {{{of.name}}} where it stands."
        )
