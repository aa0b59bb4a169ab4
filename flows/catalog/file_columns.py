"""What a pipeline says of the columns of its files, against the tables that it fills."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from lineage.errors import ContractError
from tasks.batch import Format, Layout
from tasks.contract import Contract
from tasks.decode.header import alike, our_names
from tasks.extract.files import FileOptions


def check_columns(source: FileOptions, contracts: Collection[Contract]) -> None:
    """Raise ContractError where `columns` says what no table reads, or a name that `names` does not have."""
    there = {column.name for contract in contracts for column in contract.recorded}
    for theirs, ours in source.columns.items():
        if ours not in there:
            raise ContractError(
                f"columns says that {theirs} is {ours}, which no table reads: write `file's name: table's "
                f"name`, of {', '.join(sorted(there))}."
            )
        if source.names and theirs not in source.names:
            hint = _nearest(theirs, source.names)
            raise ContractError(f"columns says that {theirs} is {ours}, and names has no {theirs}: {hint}")


def check_names(source: FileOptions, contract: Contract, *, whole: bool) -> None:
    """Raise ContractError where `names` says what would reject every record, or has not what is read.

    `whole`: the table is the pipeline's own, so that each of its columns must be there; else those alone
    without which no record is good.
    """
    if not source.names:
        return
    ours = our_names(Layout(format=Format.CSV, columns=source.columns), contract)
    found = _found(source.names, ours, contract)
    unknown = [name for name in source.names if name not in ours]
    near = alike(unknown, {name: column for name, column in ours.items() if column not in found})
    meant = {ours[known]: name for name, known in near.items()}
    for column in contract.recorded:
        must = whole or column.required or column.name in contract.key
        if column.name not in found and (must or column.name in meant):
            path = ".".join(column.source_path)
            hint = f"did you mean {meant[column.name]}?" if column.name in meant else _nearest(path, unknown)
            raise ContractError(
                f"{contract.table}: {column.name} is read from {path}, and names has no {path}: {hint}"
            )


def _found(names: Sequence[str], ours: Mapping[str, str], contract: Contract) -> Mapping[str, str]:
    """Column of the table → what it is called among the names."""
    found: dict[str, str] = {}
    for name in names:
        column = ours.get(name)
        if column in found:
            both = f"{found[column]} and {name}"
            raise ContractError(f"{contract.table}: {both} in names are both {column}: rename one of them.")
        if column is not None:
            found[column] = name
    return found


def _nearest(word: str, names: Sequence[str]) -> str:
    near = get_close_matches(word, names, n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none that is not read'}."
