"""`aufleet store`: a real S3 server on loopback, for one machine; and cleaning any store."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from aufleet.cli.output import console, print_json
from aufleet.cli.store_gc import gc

if TYPE_CHECKING:
    from aufleet.storage.local_server import StoreState

app = typer.Typer(no_args_is_help=True, help="Start, stop, look at and clean the object store.")
app.command("gc")(gc)
_JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command()
def start(as_json: bool = _JSON) -> None:
    """Start SeaweedFS on free loopback ports, with random credentials under ./.aufleet/.

    Example: aufleet store start
    """
    from aufleet.storage.home import state_dir
    from aufleet.storage.local_server import start_store

    with console.status("starting the object store"):
        state = start_store(state_dir())
    _show(state, as_json=as_json)


@app.command()
def stop(as_json: bool = _JSON) -> None:
    """Stop it; what it holds stays on disk.

    Example: aufleet store stop
    """
    from aufleet.storage.home import state_dir
    from aufleet.storage.local_server import stop_store

    stopped = stop_store(state_dir())
    if as_json:
        print_json({"stopped": stopped})
    else:
        console.print("stopped; its data stay in .aufleet/store" if stopped else "it did not run")


@app.command()
def status(as_json: bool = _JSON) -> None:
    """Say whether it runs and where.

    Example: aufleet store status --json
    """
    from aufleet.storage.home import state_dir
    from aufleet.storage.local_server import store_status

    _show(store_status(state_dir()), as_json=as_json)


def _show(state: "StoreState | None", *, as_json: bool) -> None:
    if as_json:
        print_json({"running": state is not None} | (asdict(state) if state else {}))
    elif state is None:
        console.print("not running (aufleet store start)")
    else:
        console.print(f"SeaweedFS at {state.endpoint}, root {state.root}, process {state.pid}")
