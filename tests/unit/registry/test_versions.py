"""Versions and aliases in a real MLflow registry on SQLite."""

import pytest

from aufleet.errors import ConfigError, ModelNotFoundError, RegistryError
from aufleet.registry.versions import Versions, parse_reference


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One database for the module: MLflow needs seconds to make its tables."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def versions(database):
    return Versions(database)


def package_uri(digit: str) -> str:
    return f"s3://bucket/models/{digit * 64}"


def named(card, name):
    return card.model_copy(update={"name": name})


def test_a_registered_package_is_a_version_with_its_facts(versions, card):
    version = versions.register(named(card, "facts"), package_uri=package_uri("a"))
    assert (version.name, version.version) == ("facts", "1")
    assert version.package_uri == package_uri("a")
    assert version.digest == "a" * 64
    assert (version.task, version.architecture) == ("au", "algrnet")


def test_the_same_package_keeps_its_version(versions, card):
    first = versions.register(named(card, "same"), package_uri=package_uri("a"))
    again = versions.register(named(card, "same"), package_uri=package_uri("a"))
    other = versions.register(named(card, "same"), package_uri=package_uri("b"))
    assert (first.version, again.version, other.version) == ("1", "1", "2")


def test_an_alias_moves_from_version_to_version(versions, card):
    for digit in "ab":
        versions.register(named(card, "moves"), package_uri=package_uri(digit))
    versions.set_alias("moves", version="1", alias="champion")
    assert versions.resolve("moves").version == "1"
    versions.set_alias("moves", version="2", alias="champion")
    assert versions.resolve("moves", "champion").version == "2"
    assert versions.resolve("moves", "@champion").aliases == ("champion",)
    assert versions.resolve("moves", "1").aliases == ()


def test_an_unknown_model_lists_the_known_ones(versions, card):
    versions.register(named(card, "known"), package_uri=package_uri("a"))
    with pytest.raises(ModelNotFoundError, match=r"no model 'unknown'.*known"):
        versions.resolve("unknown")


def test_an_unknown_version_lists_the_known_ones(versions, card):
    versions.register(named(card, "short"), package_uri=package_uri("a"))
    with pytest.raises(ModelNotFoundError, match="no version or alias '7': it has 1"):
        versions.resolve("short", "7")


def test_only_the_two_aliases_exist(versions, card):
    versions.register(named(card, "alias"), package_uri=package_uri("a"))
    with pytest.raises(ConfigError, match="no alias 'best'"):
        versions.set_alias("alias", version="1", alias="best")


def test_a_registry_that_cannot_be_opened_is_one_sentence(tmp_path):
    file = tmp_path / "mlflow.db"
    file.write_text("this is no database " * 100)
    with pytest.raises(RegistryError, match="cannot be opened"):
        Versions(f"sqlite:///{file}")


def test_nothing_is_written_outside_the_database(versions, card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    versions.register(named(card, "tidy"), package_uri=package_uri("a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reference"),
    [("demo", ("demo", None)), ("demo:3", ("demo", "3")), ("demo@champion", ("demo", "champion"))],
)
def test_a_reference_names_a_model_and_a_version(text, reference):
    assert parse_reference(text) == reference


@pytest.mark.parametrize("text", ["", ":3", "demo:", "demo@", "demo:1@champion"])
def test_a_malformed_reference_is_refused(text):
    with pytest.raises(ConfigError, match="names no model"):
        parse_reference(text)
