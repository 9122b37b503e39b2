"""Settings that are given on the command line in the place of those in an experiment file."""

from collections.abc import Collection, Mapping
from typing import Any

from aufleet.errors import ConfigError


def change(
    content: dict[str, Any], changes: Mapping[str, Any], *, own_keys: Collection[str]
) -> dict[str, Any]:
    """Return the content of an experiment file with other values.

    `dataset` is a key of the file itself, `resources.ranks` one within it, an input of the table
    is given by its name, and any other bare name, `epochs`, is a setting of every trial.

    Args:
        content: What stands in the file; it stays as it is.
        changes: Key -> value.
        own_keys: The keys of the file itself.

    Raises:
        ConfigError: A dotted key leads through something that holds no keys.
    """
    changed = dict(content)
    for key, value in changes.items():
        path = key.split(".")
        if len(path) == 1 and key not in own_keys:
            inputs = changed.get("inputs")
            is_input = isinstance(inputs, dict) and key in inputs
            path = ["given" if is_input else "fixed", key]
            # A searched setting that is given is searched no more.
            searched = changed.get("search")
            if isinstance(searched, dict) and key in searched:
                changed["search"] = {name: one for name, one in searched.items() if name != key}
        _put(changed, path, value, whole=key)
    return changed


def _put(content: dict[str, Any], path: list[str], value: Any, *, whole: str) -> None:  # noqa: ANN401
    """Put a value at the end of a path; mappings on the way are copied."""
    first, *others = path
    if not others:
        content[first] = value
        return
    inner = content.get(first) or {}
    if not isinstance(inner, dict):
        raise ConfigError(f"--set {whole}: {first} holds no keys", f"give {first} as a whole")
    content[first] = dict(inner)
    _put(content[first], others, value, whole=whole)
