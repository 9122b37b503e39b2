"""`python -m aufleet.cli` is `aufleet`."""

from aufleet.cli.entry import main

main()
