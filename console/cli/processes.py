"""The long-lived processes: `headwater listen`, `relay` and `serve`; each ends in good order on SIGTERM."""

from typing import Annotated

import typer

from console.cli.start import run, start, start_prefect

Pipelines = Annotated[
    list[str] | None,
    typer.Option("--pipeline", help="A stream, once or more; without it, all."),
]
Drain = Annotated[
    bool, typer.Option("--drain", help="Ingest what brokers still keep for us, end the sessions and exit.")
]


def listen(pipeline: Pipelines = None, drain: Drain = False) -> None:
    """Ingest streams side by side: from brokers and folders to Postgres, acknowledged after the commit."""
    settings = start()
    from flows import catalog
    from flows.stream.side_by_side import listen_to

    run(listen_to(settings, catalog.read(settings), pipeline or (), leave=drain))


def relay() -> None:
    """Carry the committed lineage to the graph."""
    settings = start()
    from flows import catalog
    from flows.relay import relay as relaying

    run(relaying(settings, catalog.read(settings)))


def serve() -> None:
    """Deploy every flow, run the scheduled ones, and start flows when robots say that something changed."""
    settings = start_prefect()
    from flows import catalog
    from flows.worker.serve import serve as serving

    run(serving(settings, catalog.read(settings)))
