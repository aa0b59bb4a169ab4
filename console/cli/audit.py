"""`headwater audit`: named questions to the graph."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli.start import moment, pairs, run, start
from console.cli.table import Form, Format, print_csv, print_json, print_table, say
from lineage.counted import counted

if TYPE_CHECKING:
    from lineage.query import Answer

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Which question; none lists them.")]
Params = Annotated[list[str], typer.Option("--param", metavar="KEY=VALUE", help="A parameter; repeatable.")]
Cypher = Annotated[str, typer.Argument(help="A statement that only reads.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="What held then (ISO 8601; UTC).")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="What was known then (ISO 8601; UTC).")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds it may take.")]
Limit = Annotated[int, typer.Option(min=1, help="Rows at most; a longer answer says its true length.")]


def audit(
    name: Name = None,
    params: Params = [],  # noqa: B006 - typer's way to say "none given"
    as_of: AsOf = None,
    known_at: KnownAt = None,
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
    from console.asked.audits import ask

    valid, known = moment(as_of, "--as-of"), moment(known_at, "--known-at")
    answer = run(ask(settings, name, dict(pairs(params, "--param")), limit, valid, known))
    _print(form, answer, whole=False)


def query(
    cypher: Cypher,
    params: Params = [],  # noqa: B006 - typer's way to say "none given"
    timeout: Timeout = 30.0,
    form: Form = Format.TABLE,
    limit: Limit = 1_000,
) -> None:
    """Ask the graph in Cypher of your own; it may only read."""
    settings = start()
    from console.asked.audits import query as asking

    _print(form, run(asking(settings, cypher, dict(pairs(params, "--param")), limit, timeout)))


def _list() -> None:
    from lineage.audit import audits

    for each in audits():
        takes = ", ".join(f"{p.name}{'' if p.default is None else f'={p.default}'}" for p in each.parameters)
        say(f"{each.name:<18} {each.question}" + (f" ({takes})" if takes else ""))


def _print(form: Format, answer: "Answer", *, whole: bool = True) -> None:
    """Microseconds since 1970 (columns that end in _us) are shown as moments.

    `whole`: a table for people has all columns too, also those that are empty in every row.
    """
    columns = [name.removesuffix("_us") for name in answer.columns]
    rows = [[_shown(*cell) for cell in zip(answer.columns, row, strict=True)] for row in answer.rows]
    match form:
        case Format.JSON:
            named = [dict(zip(columns, row, strict=True)) for row in rows]
            print_json({"rows": named, "total": answer.total, "cut": answer.cut})
        case Format.CSV:
            print_csv(columns, rows)
        case Format.TABLE:
            print_table(*((columns, rows) if whole else _without_empty(columns, rows)))
    if answer.cut and form is not Format.JSON:
        say(f"the first {len(answer.rows):,} of {counted(answer.total, 'row')}: raise --limit", err=True)


def _without_empty(columns: list[str], rows: list[list[Any]]) -> tuple[list[str], list[list[Any]]]:
    """Without the columns that say nothing in any row: of a dataset no rows are told, of a batch they are."""
    told = [at for at in range(len(columns)) if not rows or any(row[at] is not None for row in rows)]
    return [columns[at] for at in told], [[row[at] for at in told] for row in rows]


def _shown(column: str, value: Any) -> Any:
    if column.endswith("_us") and isinstance(value, int):
        return EPOCH + timedelta(microseconds=value)
    return value
