"""Which versions the registry wants served."""

from collections.abc import Sequence

from aufleet.errors import RegistryError
from aufleet.registry.versions import CHAMPION, ModelVersion, Versions, parse_reference
from aufleet.serving.routing import ServedVersion


class Following:
    """Some models of the registry, or all of them, looked at again and again.

    "NAME" means every version that has an alias, "NAME@ALIAS" whichever version has that one,
    "NAME:3" that version for good; without a reference every model is meant.
    """

    def __init__(self, references: Sequence[str], *, versions: Versions) -> None:
        """Keep the references.

        Raises:
            ConfigError: A reference names no model.
        """
        self._references = [parse_reference(text) for text in references]
        self._versions = versions
        self._seen: dict[str, dict[str, str]] | None = None
        self._wanted: list[ServedVersion] = []

    def first(self) -> list[ServedVersion]:
        """Return what must answer before the service is ready: champions and what was named.

        Raises:
            ModelNotFoundError: A named model, version or alias is not there.
            RegistryError: No model has an alias.
        """
        if self._references:
            found = [self._versions.resolve(name, which) for name, which in self._references]
        else:
            found = [
                self._versions.resolve(name)
                for name, aliases in self._versions.list_aliases().items()
                if CHAMPION in aliases
            ]
        if not found:
            raise RegistryError(
                "no model of the registry is champion", "aufleet promote EXPERIMENT makes one"
            )
        return list({version.label: version for version in map(_served, found)}.values())

    def look(self) -> list[ServedVersion]:
        """Return what is wanted now, with all aliases.

        Raises:
            RegistryError: The registry holds nothing at all, while it did before: it is another
                one, or it is being restored.
            Exception: Whatever MLflow raises where it does not answer.
        """
        aliases = self._versions.list_aliases()
        if aliases == self._seen:
            return self._wanted
        if self._wanted and not aliases:
            raise RegistryError("the registry is empty, and it was not before")
        wanted = [
            _served(version)
            for name in aliases
            for version in self._versions.list_versions(name)
            if self._is_wanted(version)
        ]
        self._seen, self._wanted = aliases, wanted
        return wanted

    def _is_wanted(self, version: ModelVersion) -> bool:
        if not self._references:
            return bool(version.aliases)
        for name, which in self._references:
            if name == version.name:
                if which is None and version.aliases:
                    return True
                if which is not None and which.removeprefix("@") in (
                    version.version,
                    *version.aliases,
                ):
                    return True
        return False


def _served(version: ModelVersion) -> ServedVersion:
    return ServedVersion(
        name=version.name,
        version=version.version,
        aliases=tuple(version.aliases),
        task="palsy" if version.task == "palsy" else "au",
        package_uri=version.package_uri,
    )
