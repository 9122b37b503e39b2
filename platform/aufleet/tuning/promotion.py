"""From an experiment's winner to a model package and a registered version."""

from dataclasses import dataclass, field

from aufleet.errors import ConfigError, RegistryError
from aufleet.registry.card import Card
from aufleet.registry.gates import Gates
from aufleet.registry.package import pack_members, write_package
from aufleet.registry.versions import CHAMPION, ModelVersion, Versions
from aufleet.storage import Store
from aufleet.tuning.gating import what_speaks_against
from aufleet.tuning.winner import Kind, Watch, read_winner
from aufleet.tuning.winner_card import card_of


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A winner as a registered version."""

    version: ModelVersion
    card: Card


@dataclass(frozen=True, kw_only=True)
class AliasRequest:
    """An alias that is to move.

    Attributes:
        alias: "champion" or "candidate".
        gates: What the version must show.
        evaluate_on: A data set to show it on; empty: the scores of the folds.
        force: Move it whatever the gates say.
        reason: Why, for the history; needed with `force`.
    """

    alias: str = CHAMPION
    gates: Gates = field(default_factory=Gates)
    evaluate_on: str = ""
    force: bool = False
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse force without a reason.

        Raises:
            ConfigError: There is none.
        """
        if self.force and not self.reason:
            raise ConfigError("force needs a reason", "say why with --reason: it stays on record")


def promote(
    store: Store,
    *,
    root: Store,
    versions: Versions,
    kind: Kind = "ensemble",
    move: AliasRequest,
    watch: Watch,
) -> Promotion:
    """Make a package of an experiment's winner, register it and point an alias to it.

    Promoting the same winner again makes the same package and keeps its version.

    Args:
        store: The experiment's store.
        root: The root store, where the package goes.
        versions: The registry.
        kind: All folds of the winner together, its best fold alone, or one network that is trained
            on all subjects now; an equal call goes on where that was stopped.
        move: Which alias is to point to it, and what it must show first.
        watch: Hears of the epochs of a refit.

    Raises:
        ConfigError: There is no such experiment or alias.
        RegistryError: It has no winner yet, was trained on shuffled labels, or a gate is shut: the
            version is registered then and no alias moves.
    """
    winner = read_winner(store, kind=kind)
    members = winner.members(watch)
    weights = pack_members(members)
    card = card_of(winner, members=tuple(members), weights=weights)
    version = versions.register(card, package_uri=write_package(card, weights, root=root))
    _move_alias(version, move, versions=versions)
    return Promotion(version=versions.resolve(card.name, version.version), card=card)


def _move_alias(version: ModelVersion, move: AliasRequest, *, versions: Versions) -> None:
    """Point the alias to a version that may have it.

    Raises:
        RegistryError: A gate is shut, and nobody forces it.
    """
    if not move.force:
        against = what_speaks_against(
            version,
            champion=versions.holder_of(version.name, CHAMPION),
            gates=move.gates,
            evaluate_on=move.evaluate_on,
        )
        if against:
            raise RegistryError(
                f"{version.name}:{version.version} is registered, {move.alias} does not move to "
                f"it: {'; '.join(against)}",
                "move it all the same with --force --reason WHY",
            )
    reason = f"forced: {move.reason}" if move.force else move.reason
    versions.set_alias(version.name, version=version.version, alias=move.alias, reason=reason)
