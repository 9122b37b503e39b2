"""`aufleet data`: make data sets and look into them."""

import typer

from aufleet.cli.data_forget import forget_command
from aufleet.cli.data_import import ImportHelp, import_command
from aufleet.cli.data_inspect import inspect_command
from aufleet.cli.data_synth import synth_command
from aufleet.cli.data_verify import verify_command

app = typer.Typer(no_args_is_help=True, help="Make data sets and look into them.")
app.command("import", cls=ImportHelp)(import_command)
app.command("synth")(synth_command)
app.command("inspect")(inspect_command)
app.command("verify")(verify_command)
app.command("forget")(forget_command)
