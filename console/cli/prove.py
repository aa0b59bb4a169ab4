"""`headwater prove`: everything stored against the record against the graph."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from console.cli.exits import DIFFERENCES
from console.cli.start import moment, run, start
from console.cli.table import Json, print_json, say
from lineage.counted import counted
from lineage.errors import SettingsError

Full = Annotated[bool, typer.Option("--full", help="Read everything, not what is new since the last proof.")]
Since = Annotated[str | None, typer.Option(help="Read what is known since then, e.g. 2026-11-21T08:00; UTC.")]

FromBytes = Annotated[
    bool,
    typer.Option(
        "--from-bytes", help="Make the rows of these batches again from their messages, and compare."
    ),
]


def prove(
    full: Full = False, since: Since = None, from_bytes: FromBytes = False, as_json: Json = False
) -> None:
    """Prove that Postgres, the lineage log and the graph agree; exit status 1 where they differ.

    It reads what is new since the last proof without a difference that the anchors keep. With --from-bytes
    it also shows that stored values come from the kept messages by the code that the ledger names, where that
    code is the one that runs here.
    """
    if full and since is not None:
        raise SettingsError("--full reads everything and --since a part of it: give one of them.")
    settings, after = start(), moment(since, "--since")
    from flows import catalog
    from flows.acts.proof import prove as proving

    with Console(stderr=True).status("proving") as status:

        def show(what: str, done: int) -> None:
            _show(status, what, done)

        known = catalog.read(settings)
        proof = run(proving(settings, known, show, full=full, since=after, from_bytes=from_bytes))
    if as_json:
        print_json(asdict(proof))
    else:
        for difference in proof.differences:
            say(difference)
        for sentence in (*proof.unshown, *proof.restores):
            say(sentence)
        if proof.keyless:
            keyless = counted(proof.keyless, "batch")
            say(f"Digested without a key, so that only anchors protect their rows: {keyless}.")
        for sentence in proof.from_bytes.sentences if proof.from_bytes else ():
            say(sentence)
        say(proof.sentence)
        if any(each.startswith("graph:") for each in proof.differences):
            say("`headwater graph rebuild` makes the graph again from the record.", err=True)
    if not proof.ok:
        raise typer.Exit(DIFFERENCES)


def _show(status: Status, what: str, done: int) -> None:
    status.update(f"proving: {done:,} {what}")
