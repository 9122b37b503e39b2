"""Versions and aliases of trained models, in MLflow's Model Registry.

The bytes lie in the store (`package`); the registry holds a version's tags and who is champion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aufleet.errors import ConfigError, ModelNotFoundError
from aufleet.registry.card import Card, digest_of
from aufleet.registry.mlflow_session import open_mlflow
from aufleet.registry.moves import AliasMove, moves_in, version_before

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as Record

CHAMPION = "champion"
ALIASES = (CHAMPION, "candidate")


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a registered model."""

    name: str
    version: str
    aliases: tuple[str, ...]
    package_uri: str
    digest: str
    task: str
    architecture: str
    created: datetime
    """When the version was registered."""


class Versions:
    """The registered models of one MLflow server or file."""

    def __init__(self, uri: str | None = None) -> None:
        """Open the registry; without a URI, the one of this machine's settings.

        Raises:
            RegistryError: It cannot be opened.
        """
        self._client = open_mlflow(uri)

    def register(self, card: Card, *, package_uri: str) -> ModelVersion:
        """Return the version of a package; a package that is registered already keeps its own."""
        from mlflow.exceptions import MlflowException

        digest = digest_of(package_uri)
        for known in self.list_versions(card.name):
            if known.digest == digest:
                return known
        try:
            self._client.create_registered_model(card.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {
            "package_uri": package_uri,
            "digest": digest,
            "task": card.task,
            "architecture": card.architecture.name,
        }
        record = self._client.create_model_version(card.name, source=package_uri, tags=tags)
        return _version_of(record)

    def set_alias(self, name: str, *, version: str, alias: str, reason: str = "") -> None:
        """Let an alias point to a version; it leaves the version that had it.

        Raises:
            ConfigError: The alias is none of `ALIASES`.
            ModelNotFoundError: There is no such version.
        """
        if alias not in ALIASES:
            raise ConfigError(f"there is no alias {alias!r}", f"aliases are {', '.join(ALIASES)}")
        self.resolve(name, version)
        holder = self.holder_of(name, alias)
        previous = holder.version if holder else None
        if previous != version:
            self._move(
                name,
                AliasMove(alias=alias, version=version, previous=previous, reason=reason),
            )

    def roll_back(self, name: str, *, alias: str = CHAMPION, reason: str = "") -> AliasMove:
        """Let an alias point to the version that had it before, and return the move.

        Raises:
            ModelNotFoundError: No version has the alias.
            RegistryError: No version had it before.
        """
        current = self.resolve(name, alias).version
        before = version_before(self.list_moves(name), alias=alias, version=current)
        move = AliasMove(
            alias=alias, version=before, previous=current, reason=reason, is_rollback=True
        )
        self._move(name, move)
        return move

    def list_moves(self, name: str) -> list[AliasMove]:
        """Return every move of the model's aliases, the oldest first.

        Raises:
            ModelNotFoundError: There is no such model.
        """
        self._existing(name)
        return moves_in(self._client.get_registered_model(name).tags.items())

    def resolve(self, name: str, version_or_alias: str | None = None) -> ModelVersion:
        """Return one version: by number, by alias, or the champion where neither is said.

        Raises:
            ModelNotFoundError: There is no such model, version or alias; the known ones are listed.
        """
        versions = self._existing(name)
        wanted = (version_or_alias or CHAMPION).removeprefix("@")
        for version in versions:
            if wanted == version.version or wanted in version.aliases:
                return version
        raise ModelNotFoundError(
            f"model {name!r} has no version or alias {wanted!r}",
            f"it has {', '.join(map(_describe, versions))}",
        )

    def holder_of(self, name: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias points to; None where it points to none."""
        return next((one for one in self.list_versions(name) if alias in one.aliases), None)

    def list_versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model, the newest first; none where there is no such model."""
        aliases = self._aliases_of(name)
        records = self._client.search_model_versions(f"name = '{_quoted(name)}'")
        versions = [_version_of(record, aliases.get(str(record.version), ())) for record in records]
        return sorted(versions, key=lambda version: int(version.version), reverse=True)

    def list_names(self) -> list[str]:
        """Return the names of all registered models, sorted."""
        return sorted(model.name for model in self._client.search_registered_models())

    def list_aliases(self) -> dict[str, dict[str, str]]:
        """Return model -> alias -> version, for every registered model."""
        found: dict[str, dict[str, str]] = {}
        page_token: str | None = None
        while True:
            page = self._client.search_registered_models(max_results=1000, page_token=page_token)
            for model in page:
                found[model.name] = {alias: str(each) for alias, each in model.aliases.items()}
            page_token = page.token
            if not page_token:
                return found

    def _existing(self, name: str) -> list[ModelVersion]:
        versions = self.list_versions(name)
        if not versions:
            known = ", ".join(self.list_names()) or "none; `aufleet promote` makes one"
            raise ModelNotFoundError(f"there is no model {name!r}", f"known models: {known}")
        return versions

    def _move(self, name: str, move: AliasMove) -> None:
        # Written down first: no alias ever points where no row says why.
        self._client.set_registered_model_tag(name, *move.as_tag())
        self._client.set_registered_model_alias(name, move.alias, move.version)

    def _aliases_of(self, name: str) -> dict[str, Sequence[str]]:
        """Return version -> its aliases; a search for versions does not tell them."""
        found: dict[str, list[str]] = {}
        for model in self._client.search_registered_models(f"name = '{_quoted(name)}'"):
            for alias, version in model.aliases.items():
                found.setdefault(str(version), []).append(alias)
        return {version: sorted(aliases) for version, aliases in found.items()}


def parse_reference(text: str) -> tuple[str, str | None]:
    """Return name and version or alias of "NAME", "NAME:3" or "NAME@champion".

    Raises:
        ConfigError: The text has neither of these forms.
    """
    for mark in (":", "@"):
        if mark in text:
            name, _, which = text.partition(mark)
            if name and which and not set(which) & set(":@"):
                return name, which
            break
    else:
        if text:
            return text, None
    raise ConfigError(f"{text!r} names no model", "write NAME, NAME:VERSION or NAME@ALIAS")


def _quoted(name: str) -> str:
    return name.replace("'", "")


def _describe(version: ModelVersion) -> str:
    marks = "".join(f" (@{alias})" for alias in version.aliases)
    return f"{version.version}{marks}"


def _version_of(record: "Record", aliases: Sequence[str] = ()) -> ModelVersion:
    tags = record.tags
    return ModelVersion(
        name=record.name,
        version=str(record.version),
        aliases=tuple(aliases),
        package_uri=tags.get("package_uri", record.source or ""),
        digest=tags.get("digest", ""),
        task=tags.get("task", ""),
        architecture=tags.get("architecture", ""),
        created=datetime.fromtimestamp(record.creation_timestamp / 1000, tz=UTC),
    )
