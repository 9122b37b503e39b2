"""Options of a network: a frozen dataclass, filled from keyword arguments and checked."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Options = TypeVar("Options")


def read_options(kind: type[Options], given: Mapping[str, Any], *, model: str) -> Options:
    """Return the options of a network.

    Args:
        kind: The dataclass of the network's options.
        given: Name -> value; lists may stand for tuples, as they come from files.
        model: Name of the network, for the error.

    Raises:
        ValueError: An unknown name, or a value that the option cannot have.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{model} has no option {name!r}: {nearest(name, known)}")
        _check(name, value, hints[name], model=model)
    return kind(**{name: _frozen(value) for name, value in given.items()})


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known name and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known are {', '.join(names)}"


def _check(name: str, value: Any, hint: Any, *, model: str) -> None:  # noqa: ANN401
    choices = _choices(hint)
    # Compared with the type, as True == 1.
    if choices and not any(value == one and type(value) is type(one) for one in choices):
        wanted = ", ".join(repr(one) for one in choices)
        raise ValueError(f"option {name} of {model} is {value!r}: choose one of {wanted}")
    if not choices and not _fits(value, hint):
        wanted = getattr(hint, "__name__", str(hint))
        raise ValueError(f"option {name} of {model} is {value!r}: it takes {wanted}")


def _choices(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        parts = [_choices(part) for part in get_args(hint)]
        return tuple(one for part in parts for one in part) if all(parts) else ()
    return ()


def _fits(value: Any, hint: Any) -> bool:  # noqa: ANN401
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, list | tuple) if origin is tuple else isinstance(value, origin)


def _frozen(value: Any) -> Any:  # noqa: ANN401
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
