"""`headwater erase`: the bytes of messages deleted, their digests kept."""

from dataclasses import asdict
from typing import Annotated

import typer

from console.cli.start import run, start
from console.cli.table import Json, print_json, say
from infra.local.user import user_name
from lineage.counted import counted
from lineage.errors import RejectedError

Batch = Annotated[int, typer.Argument(metavar="BATCH", help="The raw batch, as `headwater trace` names it.")]
Sequences = Annotated[
    list[int], typer.Argument(metavar="SEQUENCE…", help="The messages in it, counted from 0.")
]
Reason = Annotated[str, typer.Option(help="Why; kept with the act.")]
By = Annotated[str | None, typer.Option(help="Who says so; without it, the user of this machine.")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it. Without it, only what would be done is told.")]


def erase(
    batch: Batch,
    sequences: Sequences,
    reason: Reason = "",
    by: By = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Delete the bytes of messages as they were received, for good; every proof still closes.

    Rows that came from them stay: `headwater recall` finds them.
    """
    if apply and not reason:
        raise RejectedError("--apply takes a --reason.")
    settings = start()
    from console.asked.erase import erased

    by_whom = by or user_name()
    done = run(erased(settings, batch, sequences, reason=reason, by_whom=by_whom, apply=apply))
    if as_json:
        print_json({"applied": apply, "batch": batch, "messages": [asdict(each) for each in done]})
        return
    for each in done:
        say(f"{each.sequence}: {each.location}, {each.bytes:,} bytes")
    were = ("was" if len(done) == 1 else "were") if apply else "would be"
    say(f"{counted(len(done), 'message')} {were} erased.")
    if not apply:
        say("Nothing was changed; --apply with a --reason does it.")
