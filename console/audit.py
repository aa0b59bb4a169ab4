"""`headwater audit`: named questions to the graph."""

import csv
import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from console.start import pairs, run, start
from console.table import print_table


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Name = Annotated[str | None, typer.Argument(help="Which question; none lists them.")]
Params = Annotated[list[str], typer.Option("--param", metavar="KEY=VALUE", help="A parameter; repeatable.")]
Form = Annotated[Format, typer.Option("--format", help="How to print the answer.")]
Limit = Annotated[int, typer.Option(min=1, help="Rows at most; a longer answer says its true length.")]


def audit(
    name: Name = None,
    params: Params = [],  # noqa: B006 - typer's way to say "none given"
    form: Form = Format.TABLE,
    limit: Limit = 1_000,
) -> None:
    """Ask the graph a named question; without a name, list the questions."""
    if name is None:
        _list()
        return
    settings = start()
    from flows.audits import ask

    answer = run(ask(settings, name, dict(pairs(params, "--param")), limit))
    _print(form, answer.columns, answer.rows, answer.total, cut=answer.cut)
    if answer.cut and form is not Format.JSON:
        typer.echo(f"the first {len(answer.rows):,} of {answer.total:,} rows: raise --limit", err=True)


def _list() -> None:
    from lineage.audit import audits

    for each in audits():
        takes = ", ".join(f"{p.name}{'' if p.default is None else f'={p.default}'}" for p in each.parameters)
        typer.echo(f"{each.name:<12} {each.question}" + (f" ({takes})" if takes else ""))


def _print(
    form: Format, columns: Sequence[str], rows: Sequence[Sequence[Any]], total: int, *, cut: bool
) -> None:
    match form:
        case Format.JSON:
            named = [dict(zip(columns, row, strict=True)) for row in rows]
            typer.echo(json.dumps({"rows": named, "total": total, "cut": cut}, default=str))
        case Format.CSV:
            writer = csv.writer(sys.stdout)
            writer.writerow(columns)
            writer.writerows(rows)
        case Format.TABLE:
            print_table(columns, rows)
