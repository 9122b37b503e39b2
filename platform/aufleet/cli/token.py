"""`aufleet token`: who may call the service."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from aufleet.cli.output import console, print_json

if TYPE_CHECKING:
    from aufleet.serving.tokens import TokenFile, TokenRow

app = typer.Typer(
    no_args_is_help=True,
    help="Create, list and revoke the tokens of callers; a running service follows within 5 s.",
)


@app.command()
def create(
    name: str = typer.Argument(help="Who uses it."),
    scope: Annotated[
        list[str] | None,
        typer.Option(help="analyze or models:read; may be given again; default: analyze."),
    ] = None,
    expires_days: float = typer.Option(90, help="How long it is valid."),
    rate: float = typer.Option(
        0.0, "--rate", help="The most calls (and frames of streams) per second; 0: no limit."
    ),
    max_calls: int = typer.Option(0, help="The most calls at the same time; 0: no limit."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Create a token and show it, this once: only its digest is kept.

    Example: aufleet token create clinic-a --scope analyze --scope models:read --expires-days 30
    """
    from aufleet.serving.tokens import ANALYZE

    tokens = _tokens()
    token = tokens.create(
        name,
        scopes=scope or [ANALYZE],
        expires_days=expires_days,
        rate_per_s=rate,
        max_calls=max_calls,
    )
    row = next(row for row in tokens.rows() if row.name == name)
    if as_json:
        print_json(
            {
                "name": name,
                "token": token,
                "scopes": row.scopes,
                "expires": _day(row.expires_s),
                "rate_per_s": row.rate_per_s,
                "max_calls": row.max_calls,
            }
        )
        return
    console.print(token, soft_wrap=True)
    said = f"{name}: {', '.join(row.scopes)}, until {_day(row.expires_s)}{_limits(row)}"
    console.print(f"[dim]{said}[/]")


@app.command(name="list")
def list_tokens(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the tokens, without the tokens themselves.

    Example: aufleet token list
    """
    from rich.table import Table

    rows = _tokens().rows()
    if as_json:
        print_json(
            [
                {
                    "name": row.name,
                    "id": row.id,
                    "scopes": row.scopes,
                    "created": _day(row.created_s),
                    "expires": _day(row.expires_s),
                    "rate_per_s": row.rate_per_s,
                    "max_calls": row.max_calls,
                }
                for row in rows
            ]
        )
        return
    table = Table("name", "id", "scopes", "created", "expires", "limits", box=None)
    for row in rows:
        times = _day(row.created_s)[:10], _day(row.expires_s)[:10]
        limits = _limits(row).removeprefix(", ") or "none"
        table.add_row(row.name, row.id, ", ".join(row.scopes), *times, limits)
    console.print(table if rows else "no tokens; `aufleet token create NAME` makes one")


@app.command()
def revoke(name: str = typer.Argument(help="Whose token is refused from now on.")) -> None:
    """Revoke a token; a running service refuses it within 5 s.

    Example: aufleet token revoke clinic-a
    """
    _tokens().revoke(name)
    console.print(f"revoked {name}")


def _tokens() -> "TokenFile":
    from aufleet.serving.tokens import TokenFile
    from aufleet.storage.home import state_dir

    return TokenFile(state_dir() / "tokens.json")


def _limits(row: "TokenRow") -> str:
    rate = f", {row.rate_per_s:g} calls/s" if row.rate_per_s else ""
    return rate + (f", {row.max_calls} at once" if row.max_calls else "")


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, tz=UTC).isoformat(timespec="seconds")
