"""`headwater devices`: the device register that readings are enriched from."""

from pathlib import Path
from typing import Annotated

import typer

from console.cli.start import run, start
from console.cli.table import Json, print_json, print_table, say
from lineage.counted import counted

commands = typer.Typer(help="The device register: load it from a file, list it.", no_args_is_help=True)


@commands.command("load")
def load(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV with a header (.csv), or JSON lines (.jsonl).")
    ],
) -> None:
    """Add devices to the register, or change them: device_id, name, model, site.

    Rows stored before keep what the register said then.
    """
    settings = start()
    from console.asked.device_register import register
    from tasks.extract.devices import read_devices_file

    devices = read_devices_file(file)
    changed = run(register(settings, devices))
    say(f"{counted(devices.height, 'device')} read, {changed} new or changed.")


@commands.command("ls")
def ls(as_json: Json = False) -> None:
    """List the registered devices."""
    settings = start()
    from console.asked.device_register import registered

    devices = run(registered(settings))
    if as_json:
        print_json(devices.to_dicts())
    else:
        print_table(devices.columns, devices.iter_rows())
