"""`aufleet trace`: from an answer to its version, and to the trials, data and code behind it."""

from pathlib import Path
from typing import Any

import typer

from aufleet.cli.output import console, print_json

_TITLES = {
    "request": "request",
    "version": "version",
    "package": "package",
    "network": "network",
    "members": "members",
    "trials": "trials",
    "dataset": "data",
    "manifest_sha256": "manifest",
    "code_version": "code",
    "created": "trained",
}


def command(
    what: str = typer.Argument(help="A request id, or NAME, NAME:VERSION, NAME@ALIAS."),
    log: Path | None = typer.Option(
        None, "--log", help="The service's access log; by default the one of this folder's service."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say where an answer comes from: version, package, trials, folds, data and code.

    Example: aufleet trace demo:1
    """
    from aufleet.registry.package import read_card
    from aufleet.registry.versions import Versions, parse_reference
    from aufleet.storage.home import use_running_store

    request = _request(what, log)
    name, which = parse_reference(request["model"] if request else what)
    version = Versions().resolve(name, which)
    use_running_store()
    card = read_card(version.package_uri)
    plain: dict[str, Any] = {
        "request": request,
        "version": f"{version.name}:{version.version}",
        "aliases": list(version.aliases),
        "package": version.package_uri,
        "network": f"{card.architecture.name} ({card.task})",
        "members": list(card.members),
        "trials": list(card.trials),
        "dataset": card.dataset.uri,
        "manifest_sha256": card.dataset.manifest_sha256,
        "code_version": card.code_version,
        "created": card.created.isoformat(timespec="seconds"),
    }
    if as_json:
        print_json(plain)
    else:
        _show(plain)


def _request(what: str, log: Path | None) -> dict[str, Any] | None:
    """Return the call with this request id, or None where the words name a model."""
    from aufleet.errors import ConfigError
    from aufleet.serving.access_log import find_call
    from aufleet.storage.home import state_dir

    path = log or state_dir() / "logs" / "access.log"
    if log and not log.is_file():
        raise ConfigError(f"there is no access log {log}")
    found = find_call(path, request_id=what)
    if found and not found.get("model"):
        raise ConfigError(
            f"no model answered request {what}", f"the call ended with {found['code']}"
        )
    return found


def _show(plain: dict[str, Any]) -> None:
    for key, title in _TITLES.items():
        if plain[key]:
            console.print(f"[bold]{title:<9}[/]{_words(plain, key)}", soft_wrap=True)


def _words(plain: dict[str, Any], key: str) -> str:
    value = plain[key]
    if key == "request":
        method = value["method"].rpartition("/")[2]
        return f"{method} of {value['caller']}, {value['code']}, {value['timestamp']}"
    if key == "version":
        return " ".join([value, *(f"@{alias}" for alias in plain["aliases"])])
    return ", ".join(value) if isinstance(value, list) else value
