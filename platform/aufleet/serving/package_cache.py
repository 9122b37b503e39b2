"""Model packages on this node's disk: an analyzer that is started again needs no store.

<AUFLEET_CACHE_DIR>/packages/models/<digest>/   as in the store, checked each time it is read
"""

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aufleet.data.cache import node_cache
from aufleet.errors import PackageError, StoreError
from aufleet.storage import open_store

if TYPE_CHECKING:
    from aufleet.registry.package import LoadedPackage

MAX_PACKAGES = 8
"""The ones that were loaded longest ago make room."""
logger = logging.getLogger(__name__)


def load_cached(uri: str, *, folder: Path | None = None) -> "LoadedPackage":
    """Return the package at a URI, from this node's disk where it was loaded before.

    Args:
        uri: In the store.
        folder: Where copies lie; None for the node's cache.

    Raises:
        PackageError: It is damaged, incomplete or of an unknown schema.
        StoreError: It is not on this node, and the store cannot give it.
    """
    from aufleet.registry.card import digest_of
    from aufleet.registry.package import load_package

    folder = folder or _folder()
    if folder is None:
        return load_package(uri)
    copy = folder / "models" / digest_of(uri)
    loaded = _load_copy(copy, load=load_package)
    if loaded is None:
        _copy(uri, folder=folder, copy=copy)
        loaded = _load_copy(copy, load=load_package)
    return load_package(uri) if loaded is None else loaded


def _folder() -> Path | None:
    cache = node_cache()
    return None if cache is None else cache.folder / "packages"


def _load_copy(copy: Path, *, load: "Callable[[str], LoadedPackage]") -> "LoadedPackage | None":
    """Return what the copy holds; None where it is not there, or damaged."""
    if not copy.exists():
        return None
    try:
        loaded = load(str(copy))
    except (PackageError, StoreError) as error:
        logger.warning("%s is fetched again: %s", copy, error)
        return None
    os.utime(copy)
    return loaded


def _copy(uri: str, *, folder: Path, copy: Path) -> None:
    """Fetch a package; a disk that is full or not writable only costs the copy."""
    from aufleet.registry.package import read_package, write_package

    card, weights = read_package(uri)
    with suppress(OSError, StoreError):
        shutil.rmtree(copy, ignore_errors=True)
        write_package(card, weights, root=open_store(str(folder)))
        _make_room(folder / "models")


def _make_room(models: Path) -> None:
    found = sorted(models.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[MAX_PACKAGES:]:
        shutil.rmtree(path, ignore_errors=True)
