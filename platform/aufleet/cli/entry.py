"""Where the console script begins: a bare installation holds the client, not the command line."""

import sys


def main() -> None:
    """Run the command line, or say what to install where only the client is."""
    try:
        from aufleet.cli.main import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] == "aufleet":
            raise
        sys.stderr.write("error the command line needs more: pip install 'aufleet[all]'\n")
        sys.exit(1)
    run()
