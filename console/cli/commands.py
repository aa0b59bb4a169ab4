"""Every command by its name: where it is, and what it does in one line. It is loaded when it is called.

So `headwater COMMAND` starts without what other commands need, however many there are.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperGroup

HELP: Final = {"help_option_names": ["-h", "--help"]}


class Command(NamedTuple):
    """`where`: a module of `console` and what in it is the command, or the group of commands."""

    where: str
    what: str


COMMANDS: Final[Mapping[str, Command]] = {
    "demo": Command(
        "demo:demo",
        "Simulate devices and a robot, ingest them, trace a value back, prove everything; then stop.",
    ),
    "up": Command(
        "up:up",
        "Start the local services and our processes, print every address, and leave them running.",
    ),
    "down": Command(
        "up:down",
        "Stop what `headwater up` started; the data stays.",
    ),
    "doctor": Command(
        "doctor:doctor",
        "Look at every service; exit status 1 with problems, 3 when something is not reachable.",
    ),
    "status": Command(
        "status:status",
        "Show every part's last operation, state and lag, the addresses and what is set, without secrets.",
    ),
    "listen": Command(
        "processes:listen",
        "Ingest streams side by side: from brokers and folders to Postgres, acknowledged after the commit.",
    ),
    "relay": Command(
        "processes:relay",
        "Carry the committed lineage to the graph.",
    ),
    "serve": Command(
        "processes:serve",
        "Deploy every flow, run the scheduled ones, and start flows when robots say that something changed.",
    ),
    "run": Command(
        "run:run",
        "Run a flow once, now, and print what became of it; without a name, list what can be run.",
    ),
    "resume": Command(
        "resume:resume",
        "Run again, here and now, the flow runs that failed and whose work no later run has done.",
    ),
    "audit": Command(
        "audit:audit",
        "Ask the graph a named question; without a name, list the questions and what each takes.",
    ),
    "query": Command(
        "audit:query",
        "Ask the graph in Cypher of your own; it may only read.",
    ),
    "prove": Command(
        "prove:prove",
        "Prove that Postgres, the lineage log and the graph agree; exit status 1 where they differ.",
    ),
    "trace": Command(
        "trace:trace",
        "Show what a value came from: its row, batch, message as received, code, run, device or experiment.",
    ),
    "recall": Command(
        "recall:recall",
        "Tell what came from something, down to aggregates; take it out, put it back, make it anew from raw.",
    ),
    "erase": Command(
        "erase:erase",
        "Delete the bytes of messages as they were received, for good; every proof still closes.",
    ),
    "restored": Command(
        "restored:restored",
        "Tell what was lost when a backup was restored; with a --reason accept it, and proofs go on.",
    ),
    "devices": Command(
        "devices:commands",
        "The device register: load it from a file, list it.",
    ),
    "graph": Command(
        "graph:commands",
        "The graph as a whole: make it again, compare two states.",
    ),
    "lineage": Command(
        "lineage:commands",
        "Lineage of and for other systems: OpenLineage and PROV.",
    ),
    "rejected": Command(
        "rejected:commands",
        "Rejected records: list them, show one, replay them, drop them.",
    ),
    "simulate": Command(
        "simulate:commands",
        "Devices and a robot that publish as real ones do.",
    ),
}


class OnDemand(TyperGroup):
    """The commands of COMMANDS."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # for the nearest name

    def list_commands(self, _ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: Any, name: str) -> Any:
        return loaded(name) if name in COMMANDS else None

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.what) for name, command in COMMANDS.items()])


def loaded(name: str) -> Any:
    """The command, or the group of commands, from its module."""
    module, _, attribute = COMMANDS[name].where.partition(":")
    found = getattr(import_module(f"console.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        found.rich_markup_mode = None
        command: Any = typer.main.get_group(found)
    else:
        alone = typer.Typer(rich_markup_mode=None, add_completion=False, context_settings=HELP)
        alone.command(name)(found)
        command = typer.main.get_command(alone)
    command.name = name
    return command
