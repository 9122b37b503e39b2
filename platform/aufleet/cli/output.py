"""How results and errors look: tables and progress for people, JSON for programs."""

import json
import sys
from typing import Any

from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Write one JSON document to standard output, for `--json`."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show_error(error: object) -> None:
    """Write one line to standard error."""
    errors.print(f"[bold red]error[/] {error}", markup=True, soft_wrap=True)
