"""`headwater audit`: named questions to the graph."""

from typing import TYPE_CHECKING, Annotated

import typer

from console.start import pairs, run, start
from console.table import Form, Format, print_csv, print_json, print_table

if TYPE_CHECKING:
    from lineage.audit import Answer


Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Which question; none lists them.")]
Params = Annotated[list[str], typer.Option("--param", metavar="KEY=VALUE", help="A parameter; repeatable.")]
Limit = Annotated[int, typer.Option(min=1, help="Rows at most; a longer answer says its true length.")]


def audit(
    name: Name = None,
    params: Params = [],  # noqa: B006 - typer's way to say "none given"
    form: Form = Format.TABLE,
    limit: Limit = 1_000,
) -> None:
    """Ask the graph a named question; without a name, list the questions and what each takes.

    Example: headwater audit upstream --param key=postgres:sensor_readings
    """
    if name is None:
        _list()
        return
    settings = start()
    from flows.audits import ask

    answer = run(ask(settings, name, dict(pairs(params, "--param")), limit))
    _print(form, answer)
    if answer.cut and form is not Format.JSON:
        typer.echo(f"the first {len(answer.rows):,} of {answer.total:,} rows: raise --limit", err=True)


def _list() -> None:
    from lineage.audit import audits

    for each in audits():
        takes = ", ".join(f"{p.name}{'' if p.default is None else f'={p.default}'}" for p in each.parameters)
        typer.echo(f"{each.name:<12} {each.question}" + (f" ({takes})" if takes else ""))


def _print(form: Format, answer: "Answer") -> None:
    match form:
        case Format.JSON:
            rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
            print_json({"rows": rows, "total": answer.total, "cut": answer.cut})
        case Format.CSV:
            print_csv(answer.columns, answer.rows)
        case Format.TABLE:
            print_table(answer.columns, answer.rows)
