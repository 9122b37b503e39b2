import json
import stat

import pytest

from aufleet.errors import ConfigError, ForbiddenError, UnauthenticatedError
from aufleet.serving.tokens import ANALYZE, DAY_S, READ_MODELS, Doorkeeper, TokenFile


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.json"


@pytest.fixture
def tokens(path, clock):
    return TokenFile(path, clock=clock)


@pytest.fixture
def doorkeeper(path, clock):
    return Doorkeeper(path, clock=clock)


def test_a_token_admits_its_caller(tokens, doorkeeper):
    token = tokens.create("clinic", scopes=[ANALYZE], expires_days=1)
    assert doorkeeper.admit(f"Bearer {token}", scope=ANALYZE).name == "clinic"
    assert doorkeeper.admit(f"bearer {token}", scope=None).name == "clinic"


def test_the_file_holds_no_token_and_is_private(tokens, path):
    token = tokens.create("clinic", scopes=[ANALYZE], expires_days=1)
    secret = token.split("_", 2)[2]  # which may hold the separator, too
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())["tokens"][0]) == {
        *("id", "name", "digest", "scopes", "created_s", "expires_s", "rate_per_s", "max_calls")
    }


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic auf_0_0", "Bearer auf_000000000000_" + "a" * 43],
)
def test_no_or_a_malformed_or_an_unknown_token_is_refused(tokens, doorkeeper, authorization):
    tokens.create("clinic", scopes=[ANALYZE], expires_days=1)
    with pytest.raises(UnauthenticatedError):
        doorkeeper.admit(authorization, scope=ANALYZE)


def test_a_known_id_with_another_secret_is_refused(tokens, doorkeeper):
    token = tokens.create("clinic", scopes=[ANALYZE], expires_days=1)
    changed = token[:-1] + ("a" if token[-1] != "a" else "b")
    with pytest.raises(UnauthenticatedError):
        doorkeeper.admit(f"Bearer {changed}", scope=ANALYZE)


def test_a_token_without_the_scope_is_refused_and_told_so(tokens, doorkeeper):
    token = tokens.create("clinic", scopes=[READ_MODELS], expires_days=1)
    with pytest.raises(ForbiddenError, match="'clinic' lacks the scope 'analyze'"):
        doorkeeper.admit(f"Bearer {token}", scope=ANALYZE)


def test_a_token_ends(tokens, doorkeeper, clock):
    token = tokens.create("clinic", scopes=[ANALYZE], expires_days=2)
    clock.now += 2 * DAY_S - 1
    assert doorkeeper.admit(f"Bearer {token}", scope=ANALYZE).name == "clinic"
    clock.now += 1
    with pytest.raises(UnauthenticatedError):
        doorkeeper.admit(f"Bearer {token}", scope=ANALYZE)


def test_a_change_reaches_a_running_gateway_at_once(tokens, doorkeeper):
    first = tokens.create("first", scopes=[ANALYZE], expires_days=1)
    assert doorkeeper.admit(f"Bearer {first}", scope=ANALYZE).name == "first"
    second = tokens.create("second", scopes=[ANALYZE], expires_days=1)
    tokens.revoke("first")
    assert doorkeeper.admit(f"Bearer {second}", scope=ANALYZE).name == "second"
    with pytest.raises(UnauthenticatedError):
        doorkeeper.admit(f"Bearer {first}", scope=ANALYZE)


def test_a_damaged_file_admits_nobody(tokens, doorkeeper, path):
    token = tokens.create("clinic", scopes=[ANALYZE], expires_days=1)
    assert doorkeeper.admit(f"Bearer {token}", scope=None).name == "clinic"
    path.write_text("{")
    with pytest.raises(UnauthenticatedError):
        doorkeeper.admit(f"Bearer {token}", scope=None)
    with pytest.raises(ConfigError, match="is not a token file"):
        tokens.rows()


@pytest.mark.parametrize(
    ("name", "scopes", "days", "words"),
    [
        ("a b", [ANALYZE], 1, "cannot name a token"),
        ("", [ANALYZE], 1, "cannot name a token"),
        ("clinic", ["admin"], 1, "there is no scope 'admin'"),
        ("clinic", [], 1, "needs a scope"),
        ("clinic", [ANALYZE], 0, "cannot be valid for 0 days"),
        ("taken", [ANALYZE], 1, "there is a token 'taken' already"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_created(tokens, name, scopes, days, words):
    tokens.create("taken", scopes=[ANALYZE], expires_days=1)
    with pytest.raises(ConfigError, match=words):
        tokens.create(name, scopes=scopes, expires_days=days)
    assert [row.name for row in tokens.rows()] == ["taken"]


def test_revoking_a_name_that_is_not_there_lists_the_known_ones(tokens):
    tokens.create("clinic", scopes=[ANALYZE], expires_days=1)
    with pytest.raises(ConfigError, match="known tokens: clinic"):
        tokens.revoke("other")


def test_a_row_of_an_older_version_has_no_limits(tokens, doorkeeper, path):
    token = tokens.create("clinic", scopes=[ANALYZE], expires_days=1)
    content = json.loads(path.read_text())
    for name in ("rate_per_s", "max_calls"):
        del content["tokens"][0][name]
    path.write_text(json.dumps(content))
    row = doorkeeper.admit(f"Bearer {token}", scope=ANALYZE)
    assert (row.rate_per_s, row.max_calls) == (0, 0)


@pytest.mark.parametrize(("rate", "calls"), [(-1, 0), (float("nan"), 0), (0, -1), (1e9, 0)])
def test_a_limit_that_makes_no_sense_is_refused(tokens, rate, calls):
    with pytest.raises(ConfigError, match="cannot be limited"):
        tokens.create("clinic", scopes=[ANALYZE], expires_days=1, rate_per_s=rate, max_calls=calls)
