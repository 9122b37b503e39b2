"""`aufleet`: the table of verbs, and how an error becomes one line and an exit code."""

import sys

import typer

from aufleet import __version__
from aufleet.cli import (
    data,
    demo,
    doctor,
    evaluate,
    health,
    leaderboard,
    models,
    predict,
    promote,
    report,
    rollback,
    serve,
    store,
    token,
    trace,
    train,
    tune,
    ui,
)
from aufleet.cli.output import show_error
from aufleet.errors import AufleetError

app = typer.Typer(
    name="aufleet",
    help="Train, search and serve facial action unit detectors and facial palsy graders. "
    "Research use only; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(store.app, name="store")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(token.app, name="token")
for _verb in (
    train,
    tune,
    leaderboard,
    report,
    ui,
    promote,
    rollback,
    trace,
    evaluate,
    serve,
    predict,
    health,
    demo,
    doctor,
):
    app.command(name=_verb.__name__.rpartition(".")[2])(_verb.command)


@app.callback(invoke_without_command=True)
def _top(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def run() -> None:
    """Run the command line; an expected error ends it with one line and exit code 1."""
    try:
        app()
    except AufleetError as error:
        show_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        show_error("stopped")
        sys.exit(130)
