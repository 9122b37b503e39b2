"""Model packages that were never finished: weights without the card, which is written last.

Nothing else below `models/` is a provable orphan: a package that no alias names may stand in
somebody's configuration by its digest.
"""

from aufleet.registry.package import CARD_KEY, WEIGHTS_KEY
from aufleet.storage import Store, StoredObject


def find_unfinished_packages(root: Store, *, before_s: float) -> list[StoredObject]:
    """Return the weights that have no card and were written before a moment; keys of the root.

    Args:
        root: The root of everything.
        before_s: Seconds since 1970.
    """
    entries = {entry.key: entry for entry in root.entries("models/")}
    return [
        entry
        for key, entry in entries.items()
        if key.endswith(f"/{WEIGHTS_KEY}")
        and f"{key.removesuffix(WEIGHTS_KEY)}{CARD_KEY}" not in entries
        and entry.modified_s < before_s
    ]
