import json

import pytest
from typer.testing import CliRunner

from aufleet.cli import token
from aufleet.serving.tokens import Doorkeeper


@pytest.fixture
def run(home):
    def run_verb(*arguments):
        result = CliRunner().invoke(token.app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    return run_verb


def test_a_created_token_admits_until_it_is_revoked(run, home):
    shown = json.loads(run("create", "clinic", "--scope", "models:read", "--json"))
    assert shown["scopes"] == ["models:read"]
    door = Doorkeeper(home / "tokens.json")
    assert door.admit(f"Bearer {shown['token']}", scope="models:read").name == "clinic"
    listed = json.loads(run("list", "--json"))
    assert [(row["name"], row["scopes"]) for row in listed] == [("clinic", ["models:read"])]
    assert shown["token"] not in str(listed)
    assert "revoked clinic" in run("revoke", "clinic")
    assert json.loads(run("list", "--json")) == []


def test_a_token_is_shown_alone_on_its_line(run, home):
    first, second = run("create", "clinic").splitlines()
    assert (
        Doorkeeper(home / "tokens.json").admit(f"Bearer {first}", scope="analyze").name == "clinic"
    )
    assert second.startswith("clinic: analyze, until ")


def test_the_list_shows_names_and_scopes(run):
    assert "no tokens" in run("list")
    run("create", "clinic")
    assert "clinic" in run("list")


def test_limits_of_a_token_are_shown(run):
    shown = json.loads(run("create", "clinic", "--rate", "5", "--max-calls", "2", "--json"))
    assert (shown["rate_per_s"], shown["max_calls"]) == (5, 2)
    assert "5 calls/s, 2 at once" in run("list")
