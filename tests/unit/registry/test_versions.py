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


def test_every_move_of_an_alias_is_written_down(versions, card, monkeypatch):
    monkeypatch.setenv("AUFLEET_USER", "ada")
    for digit in "ab":
        versions.register(named(card, "history"), package_uri=package_uri(digit))
    versions.set_alias("history", version="1", alias="champion", reason="first")
    versions.set_alias("history", version="1", alias="candidate")
    versions.set_alias("history", version="2", alias="champion", reason="better")
    versions.set_alias("history", version="2", alias="champion", reason="it points there already")
    moves = versions.list_moves("history")
    assert [(move.alias, move.previous, move.version, move.reason) for move in moves] == [
        ("champion", None, "1", "first"),
        ("candidate", None, "1", ""),
        ("champion", "1", "2", "better"),
    ]
    assert {move.who for move in moves} == {"ada"}
    assert moves == sorted(moves, key=lambda move: move.when)


def test_rolling_back_twice_goes_two_versions_back(versions, card):
    for digit in "abc":
        version = versions.register(named(card, "back"), package_uri=package_uri(digit))
        versions.set_alias("back", version=version.version, alias="champion")
    for expected in ("2", "1"):
        move = versions.roll_back("back", reason="worse in the clinic")
        assert (move.version, versions.resolve("back").version) == (expected, expected)
    with pytest.raises(RegistryError, match="no version had the alias 'champion' before version 1"):
        versions.roll_back("back")
    assert versions.resolve("back").version == "1"
    last = versions.list_moves("back")[-1]
    assert (last.is_rollback, last.previous, last.reason) == (True, "2", "worse in the clinic")


def test_a_move_after_a_rollback_is_undone_to_where_it_came_from(versions, card):
    for digit in "abc":
        versions.register(named(card, "detour"), package_uri=package_uri(digit))
    for version in "12":
        versions.set_alias("detour", version=version, alias="champion")
    versions.roll_back("detour")
    versions.set_alias("detour", version="3", alias="champion")
    assert versions.roll_back("detour").version == "1"


def test_a_move_that_was_written_down_and_never_made_misleads_nobody(versions, card, monkeypatch):
    for digit in "ab":
        versions.register(named(card, "torn"), package_uri=package_uri(digit))
    versions.set_alias("torn", version="1", alias="champion")
    monkeypatch.setattr(versions._client, "set_registered_model_alias", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        versions.set_alias("torn", version="2", alias="champion")
    monkeypatch.undo()
    assert versions.resolve("torn").version == "1"
    with pytest.raises(RegistryError, match="before version 1"):
        versions.roll_back("torn")


def _interrupt(*_):
    raise KeyboardInterrupt


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


def test_all_aliases_are_told_at_once(versions, card):
    for digit in "ab":
        versions.register(named(card, "told"), package_uri=package_uri(digit))
    versions.register(named(card, "without"), package_uri=package_uri("a"))
    versions.set_alias("told", version="2", alias="champion")
    aliases = versions.list_aliases()
    assert aliases["told"] == {"champion": "2"}
    assert aliases["without"] == {}
