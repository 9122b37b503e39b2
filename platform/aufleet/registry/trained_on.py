"""Which model packages were made from a data set: who withdraws a subject has to know."""

from aufleet.errors import PackageError
from aufleet.registry.card import parse_card
from aufleet.registry.package import CARD_KEY
from aufleet.storage import Store


def packages_trained_on(root: Store, *, manifest_digests: set[str]) -> list[str]:
    """Return the URIs of the packages whose cards name one of some manifests.

    A package with an unreadable card is named as well: it may be one of them.

    Args:
        root: The root of everything.
        manifest_digests: Digests of the data sets' versions.
    """
    cards = [key for key in root.keys("models/") if key.endswith(f"/{CARD_KEY}")]
    return [
        root.uri_of(key.removesuffix(f"/{CARD_KEY}"))
        for key in cards
        if _names(root.read(key), uri=root.uri_of(key), manifest_digests=manifest_digests)
    ]


def _names(card: bytes, *, uri: str, manifest_digests: set[str]) -> bool:
    try:
        return parse_card(card, uri=uri).dataset.manifest_sha256 in manifest_digests
    except PackageError:
        return True
