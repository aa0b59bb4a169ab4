"""The long-lived processes: `headwater listen`, `relay` and `serve`; each ends in good order on SIGTERM."""

from typing import Annotated

import typer

from console.start import run, start, start_prefect

Pipeline = Annotated[str, typer.Option(help="Which stream of the catalog.")]
Drain = Annotated[
    bool, typer.Option("--drain", help="Ingest what the broker still keeps for us, end the session and exit.")
]


def listen(pipeline: Pipeline = "sensors", drain: Drain = False) -> None:
    """Ingest a stream: from the broker to Postgres, acknowledged after its commit."""
    settings = start()
    from flows.catalog import pipeline as named
    from flows.listen import listen as listening

    run(listening(settings, named(pipeline), leave=drain))


def relay() -> None:
    """Carry the committed lineage to the graph."""
    settings = start()
    from flows.relay import relay as relaying

    run(relaying(settings))


def serve() -> None:
    """Deploy every flow, run the scheduled ones, and start flows when robots say that something changed."""
    settings = start_prefect()
    from flows.serve import serve as serving

    run(serving(settings))
