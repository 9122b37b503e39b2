"""Model packages: `model.safetensors` and `card.json` under their digest in the store.

    <root>/models/<sha256 of card.json>/model.safetensors   members under "fold1.", "fold2.", ...
                                       /card.json           names the sha256 of the weights

The card is written last, so a package without a card was never finished. No pickle is read.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from aufleet.errors import (
    AlreadyExistsError,
    AufleetError,
    ObjectCorruptError,
    ObjectMissingError,
    PackageError,
)
from aufleet.registry.card import Card, digest_of, dump_card, parse_card
from aufleet.registry.ensemble import FoldEnsemble
from aufleet.storage import Store, open_store, sha256_of
from aufleet_models import build_model
from aufleet_models.contract import FaceModel

WEIGHTS_KEY = "model.safetensors"
CARD_KEY = "card.json"


@dataclass(frozen=True, kw_only=True)
class LoadedPackage:
    """A package, ready to answer."""

    card: Card
    model: nn.Module
    """A `FoldEnsemble` in evaluation mode: `model(frames) -> Prediction`, calibrated."""


def pack_members(members: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    """Return the safetensors file of the members' weights, the same bytes for the same weights.

    Args:
        members: Member ("fold1") -> its network's state.
    """
    return save_tensors(
        {
            f"{member}.{name}": tensor.detach().cpu().contiguous().clone()
            for member, state in members.items()
            for name, tensor in state.items()
        }
    )


def write_package(card: Card, weights: bytes, *, root: Store) -> str:
    """Store a package and return its URI; storing an equal package again changes nothing.

    Args:
        card: Names the sha256 of the weights.
        weights: From `pack_members`.
        root: The root store; the package lies below models/.

    Raises:
        PackageError: The card names other weights.
    """
    if card.weights_sha256 != sha256_of(weights):
        raise PackageError(f"the card of {card.name} names other weights than the given ones")
    text = dump_card(card)
    store = root.child(f"models/{sha256_of(text)}")
    for key, data in ((WEIGHTS_KEY, weights), (CARD_KEY, text)):
        # What is there under the same digest holds the same bytes.
        with suppress(AlreadyExistsError):
            store.write_new(key, data)
    return store.uri


def read_package(uri: str) -> tuple[Card, bytes]:
    """Return the card and the weights of a package, both checked against their digests.

    Raises:
        PackageError: The package is damaged, incomplete or of an unknown schema.
    """
    card = read_card(uri)
    return card, _read(uri, key=WEIGHTS_KEY, sha256=card.weights_sha256)


def read_card(uri: str) -> Card:
    """Return the card of a package, checked against the package's digest.

    Raises:
        PackageError: The card is missing, was changed or is of an unknown schema.
    """
    return parse_card(_read(uri, key=CARD_KEY, sha256=digest_of(uri)), uri=uri)


def load_package(uri: str) -> LoadedPackage:
    """Return a package as the networks that were trained; `InferenceModel` makes them fast.

    Raises:
        PackageError: As `read_package`; or the weights do not fit the card's architecture.
    """
    card, weights = read_package(uri)
    try:
        tensors = load_tensors(weights)
    except SafetensorError as error:
        raise PackageError(f"{uri}/{WEIGHTS_KEY} is not a safetensors file ({error})") from None
    members = [_build_member(card, tensors, member=member, uri=uri) for member in card.members]
    model = FoldEnsemble(members, temperature=card.temperature, exclusive=card.task == "palsy")
    return LoadedPackage(card=card, model=model.eval())


def _read(uri: str, *, key: str, sha256: str) -> bytes:
    try:
        return open_store(uri).read_verified(key, sha256=sha256)
    except ObjectMissingError:
        raise PackageError(f"model package {uri} lacks {key}", "promote the model again") from None
    except ObjectCorruptError:
        raise PackageError(
            f"{key} of model package {uri} was changed: its bytes do not match their digest",
            "promote the model again under a clean root",
        ) from None


def _build_member(card: Card, tensors: Mapping[str, Tensor], *, member: str, uri: str) -> FaceModel:
    prefix = f"{member}."
    state = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    try:
        network = build_model(card.architecture.name, **card.architecture.options)
        network.load_state_dict(state)
    except (AufleetError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise PackageError(
            f"member {member} of {uri} does not fit {card.architecture.name} ({reason})",
            "it was written by another version of the networks",
        ) from None
    return network.eval()
