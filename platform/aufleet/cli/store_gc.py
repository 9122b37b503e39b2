"""`aufleet store gc`: remove what nothing names, where that can be proved."""

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from aufleet.cli.output import console, errors, print_json
from aufleet.errors import ConfigError, DataError, ObjectCorruptError

if TYPE_CHECKING:
    from aufleet.data.orphans import Orphan
    from aufleet.storage import Store

_UNITS_S = {"m": 60, "h": 3600, "d": 86400}
SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class _Doomed:
    """One thing to remove."""

    uri: str
    size_bytes: int
    reason: str


def gc(
    uri: str = typer.Argument("", help="Root, or one data set below it; default: this root."),
    older_than: str = typer.Option(
        "24h", "--older-than", help="Leave what was written since: 90m, 24h, 7d."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would go; delete nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Remove orphans: partitions that no manifest names, receipts, unfinished writes and packages.

    Only what is provably nobody's goes: below datasets/ what a published manifest does not name and
    imports in which nothing happened for --older-than; model weights without a card; writes that
    were never completed. Experiments, checkpoints and finished models are never touched.

    Example: aufleet store gc --dry-run
    """
    from aufleet.storage import open_store, root_uri

    root = open_store(uri or root_uri())
    before_s = time.time() - _seconds(older_than)
    with errors.status("looking for orphans"):
        doomed, unreadable = _clean(root, before_s=before_s, dry_run=dry_run)
    for reason in unreadable:
        errors.print(f"[yellow]left alone[/] {reason}", soft_wrap=True)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "orphans": [vars(one) for one in doomed],
                "size_bytes": sum(one.size_bytes for one in doomed),
                "left_alone": unreadable,
            }
        )
    else:
        _show(doomed, dry_run=dry_run, older_than=older_than)


def _seconds(age: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", age)
    if not found:
        raise ConfigError(f"--older-than {age!r} is no age", "write 90m, 24h or 7d")
    return float(found[1]) * _UNITS_S[found[2]]


def _clean(root: "Store", *, before_s: float, dry_run: bool) -> tuple[list[_Doomed], list[str]]:
    """Remove orphans, or only name them; return them and what could not be judged."""
    from aufleet.data.orphans import Orphan, find_orphans
    from aufleet.registry.orphans import find_unfinished_packages

    doomed, unreadable = [], []
    for version in _versions(root):
        try:
            found = find_orphans(version, before_s=before_s)
        except (ObjectCorruptError, DataError) as error:
            unreadable.append(str(error))
            continue
        doomed += _remove(found, dry_run=dry_run)
    packages = find_unfinished_packages(root, before_s=before_s)
    reason = "weights of a package without a card"
    doomed += _remove(
        [Orphan(store=root, stored=entry, reason=reason) for entry in packages], dry_run=dry_run
    )
    return doomed + _abandon(root, before_s=before_s, dry_run=dry_run), unreadable


def _versions(root: "Store") -> list["Store"]:
    """Return the data sets below a root, or the one that the root itself is."""
    from aufleet.data.orphans import dataset_versions

    is_version = root.uri.split("/")[-3:-2] == ["datasets"]
    return [root] if is_version else dataset_versions(root)


def _remove(orphans: list["Orphan"], *, dry_run: bool) -> list[_Doomed]:
    # One after the other, in their order: a receipt has to go before what it speaks of.
    for orphan in orphans if not dry_run else ():
        orphan.store.delete(orphan.stored.key)
    return [
        _Doomed(uri=one.uri, size_bytes=one.stored.size_bytes, reason=one.reason) for one in orphans
    ]


def _abandon(root: "Store", *, before_s: float, dry_run: bool) -> list[_Doomed]:
    unfinished = [entry for entry in root.unfinished() if entry.modified_s < before_s]
    if not dry_run:
        root.abandon(unfinished)
    return [
        _Doomed(
            uri=root.uri_of(entry.key), size_bytes=entry.size_bytes, reason="an unfinished write"
        )
        for entry in unfinished
    ]


def _show(doomed: list[_Doomed], *, dry_run: bool, older_than: str) -> None:
    for one in doomed[:SHOWN]:
        console.print(f"{one.uri} [dim]{one.reason}[/]", soft_wrap=True)
    if len(doomed) > SHOWN:
        console.print(f"[dim]and {len(doomed) - SHOWN} more (--json names them all)[/]")
    size_mb = sum(one.size_bytes for one in doomed) / 1e6
    verb = "would be removed" if dry_run else "removed"
    console.print(
        f"{len(doomed)} orphans {verb}, {size_mb:.1f} MB"
        if doomed
        else f"no orphan is older than {older_than}"
    )
