"""The facial action units (AUs) of the Facial Action Coding System that the platform detects."""

from types import MappingProxyType

from aufleet.errors import ConfigError

NOT_CODED = 9
"""The label of a unit that a human coder did not judge in a frame; 0 is absent, 1 is present."""

NAMES = MappingProxyType(
    {
        1: "inner brow raiser",
        2: "outer brow raiser",
        4: "brow lowerer",
        6: "cheek raiser",
        7: "lid tightener",
        9: "nose wrinkler",
        10: "upper lip raiser",
        12: "lip corner puller",
        14: "dimpler",
        15: "lip corner depressor",
        17: "chin raiser",
        23: "lip tightener",
        24: "lip pressor",
        25: "lips part",
        26: "jaw drop",
    }
)
"""Unit number -> FACS name, for the 15 units whose centres the networks know."""

BP4D_UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA_UNITS = (1, 2, 4, 6, 9, 12, 25, 26)


def label_of(unit: int) -> str:
    """Return the label of a unit, "AU12" for 12."""
    return f"AU{unit}"


def parse_unit(label: str) -> int:
    """Return the number of a unit written "AU12" or "12".

    Raises:
        ConfigError: The label names no unit that the platform knows.
    """
    digits = label.strip().upper().removeprefix("AU")
    if not digits.isdecimal() or int(digits) not in NAMES:
        known = ", ".join(map(label_of, NAMES))
        raise ConfigError(f"{label!r} is not an action unit", f"known units are {known}")
    return int(digits)
