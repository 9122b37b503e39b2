import pytest

from aufleet.errors import ConfigError, ModelNotFoundError, RegistryError
from aufleet.serving.following import Following


class Version:
    """A version of a registry that is a dict: (name, version) -> aliases."""

    task, package_uri = "au", "s3://package"

    def __init__(self, name, version, aliases):
        self.name, self.version, self.aliases = name, version, aliases


class Registry:
    def __init__(self, models):
        self.models, self.questions = models, 0

    def list_aliases(self):
        return {
            name: {alias: version for version, aliases in versions.items() for alias in aliases}
            for name, versions in self.models.items()
        }

    def list_versions(self, name):
        self.questions += 1
        return [Version(name, *each) for each in self.models[name].items()]

    def resolve(self, name, which=None):
        for version in self.list_versions(name) if name in self.models else ():
            if (which or "champion") in (version.version, *version.aliases):
                return version
        raise ModelNotFoundError(f"no {name}")


@pytest.fixture
def registry():
    return Registry(
        {
            "faces": {"1": (), "2": ("champion",), "3": ("candidate",)},
            "palsy": {"7": ("champion",)},
        }
    )


def labels(found):
    return [version.label for version in found]


@pytest.mark.parametrize(
    ("references", "first", "wanted"),
    [
        ([], ["faces:2", "palsy:7"], ["faces:2", "faces:3", "palsy:7"]),
        (["faces"], ["faces:2"], ["faces:2", "faces:3"]),
        (["faces@candidate"], ["faces:3"], ["faces:3"]),
        (["faces:1", "palsy"], ["faces:1", "palsy:7"], ["faces:1", "palsy:7"]),
    ],
)
def test_what_is_served_follows_the_references(registry, references, first, wanted):
    following = Following(references, versions=registry)
    assert labels(following.first()) == first
    assert labels(following.look()) == wanted


def test_versions_are_read_again_only_when_an_alias_has_moved(registry):
    following = Following(["faces"], versions=registry)
    following.look()
    asked = registry.questions
    assert labels(following.look()) == ["faces:2", "faces:3"]
    assert registry.questions == asked
    registry.models["faces"] = {"1": ("champion",), "3": ("candidate",)}
    assert labels(following.look()) == ["faces:1", "faces:3"]


def test_a_registry_that_is_suddenly_empty_unloads_nothing(registry):
    following = Following([], versions=registry)
    following.look()
    registry.models = {}
    with pytest.raises(RegistryError, match="it was not before"):
        following.look()


def test_what_cannot_be_served_is_said_at_the_start(registry):
    with pytest.raises(ModelNotFoundError):
        Following(["nobody"], versions=registry).first()
    with pytest.raises(ConfigError):
        Following(["faces@"], versions=registry)
    with pytest.raises(RegistryError, match="no model of the registry is champion"):
        Following([], versions=Registry({"faces": {"1": ()}})).first()
