"""What the release controller does next, without Ray: the registry and Serve are plain values."""

import pytest

from aufleet.serving.config import ReleaseSettings
from aufleet.serving.releases import Found, Releases
from aufleet.serving.routing import ServedVersion, holders_of

LOADING, READY, GOING = Found(status="loading"), Found(status="ready"), Found(status="going")
FAILED = Found(status="failed", reason="weights were changed")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def version(number, *aliases, name="faces"):
    return ServedVersion(
        name=name, version=number, aliases=aliases, task="au", package_uri=f"s3://{number}"
    )


def holders(step):
    return {alias: place for (_, alias), place in holders_of(step.routes).items()}


def labels(step):
    return [route.label for route in step.routes]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def releases(clock):
    """Version 1 is champion and answers."""
    settings = ReleaseSettings(registry_uri="", keep_s=300, drain_s=65, first_retry_s=10)
    releases = Releases(settings=settings, clock=clock)
    releases.step([version("1", "champion")], {})
    releases.step([version("1", "champion")], {"model-faces-1": READY})
    return releases


MOVED = [version("2", "champion")]


def test_an_alias_moves_only_when_its_new_version_is_ready(releases):
    first = releases.step(MOVED, {"model-faces-1": READY})
    assert [each.version for each in first.load] == ["2"]
    assert (labels(first), holders(first)) == (["faces:1"], {"champion": "model-faces-1"})
    during = releases.step(MOVED, {"model-faces-1": READY, "model-faces-2": LOADING})
    assert (during.load, holders(during)) == ((), {"champion": "model-faces-1"})
    after = releases.step(MOVED, {"model-faces-1": READY, "model-faces-2": READY})
    assert holders(after) == {"champion": "model-faces-2"}
    assert after.news == ("faces:2 is loaded", "faces@champion: version 1 -> 2")


def test_the_old_version_is_kept_then_drained_then_unloaded(releases, clock):
    both = {"model-faces-1": READY, "model-faces-2": READY}
    releases.step(MOVED, both)
    clock.now += 299
    assert labels(releases.step(MOVED, both)) == ["faces:1", "faces:2"]
    clock.now += 2
    unrouted = releases.step(MOVED, both)
    assert (labels(unrouted), unrouted.unload) == (["faces:2"], ())
    assert "faces:1 takes no more calls" in unrouted.news
    clock.now += 64
    assert releases.step(MOVED, both).unload == ()
    clock.now += 2
    assert releases.step(MOVED, both).unload == ("model-faces-1",)
    assert releases.step(MOVED, {**both, "model-faces-1": GOING}).unload == ()
    assert releases.step(MOVED, {"model-faces-2": READY}).news == ("faces:1 is unloaded",)


def test_calls_have_their_time_from_when_the_gateways_took_the_table(releases, clock):
    both = {"model-faces-1": READY, "model-faces-2": READY}
    releases.step(MOVED, both)
    clock.now += 301
    releases.step(MOVED, both)
    clock.now += 66
    releases.routes_are_late()
    assert releases.step(MOVED, both).unload == ()
    clock.now += 66
    assert releases.step(MOVED, both).unload == ("model-faces-1",)


def test_a_rollback_within_the_time_needs_no_loading(releases, clock):
    both = {"model-faces-1": READY, "model-faces-2": READY}
    releases.step(MOVED, both)
    clock.now += 200
    back = releases.step([version("1", "champion")], both)
    assert (back.load, holders(back)) == ((), {"champion": "model-faces-1"})
    # And the time of version 1 begins anew when it is left again.
    releases.step(MOVED, both)
    clock.now += 200
    assert labels(releases.step(MOVED, both)) == ["faces:1", "faces:2"]


def test_a_version_that_cannot_be_loaded_is_named_and_the_old_one_serves(releases, clock):
    releases.step(MOVED, {"model-faces-1": READY})
    failed = {"model-faces-1": READY, "model-faces-2": FAILED}
    step = releases.step(MOVED, failed)
    assert step.news == (
        "faces:2 cannot be loaded (weights were changed); faces:1 keeps serving; it is tried again",
    )
    assert (step.unload, holders(step)) == (("model-faces-2",), {"champion": "model-faces-1"})
    clock.now += 9
    assert releases.step(MOVED, {"model-faces-1": READY}).load == ()
    clock.now += 2
    again = releases.step(MOVED, {"model-faces-1": READY})
    assert ([each.version for each in again.load], again.news) == (["2"], ())
    # The same reason is not told twice; the pause is longer.
    assert releases.step(MOVED, failed).news == ()
    clock.now += 19
    assert releases.step(MOVED, {"model-faces-1": READY}).load == ()
    clock.now += 2
    assert releases.step(MOVED, {"model-faces-1": READY}).load


def test_the_old_version_serves_for_as_long_as_the_new_one_fails(releases, clock):
    for _ in range(5):
        clock.now += 400
        step = releases.step(MOVED, {"model-faces-1": READY, "model-faces-2": FAILED})
        assert holders(step) == {"champion": "model-faces-1"}


def test_what_serve_repairs_stays_routed(releases):
    step = releases.step([version("1", "champion")], {"model-faces-1": LOADING})
    assert labels(step) == ["faces:1"]


def test_what_has_gone_is_loaded_again(releases):
    step = releases.step([version("1", "champion")], {})
    assert (labels(step), [each.version for each in step.load]) == ([], ["1"])


def test_models_come_and_go_by_themselves(releases):
    wanted = [version("1", "champion"), version("7", "champion", name="palsy")]
    found = {"model-faces-1": READY, "model-palsy-7": READY}
    releases.step(wanted, {"model-faces-1": READY})
    assert labels(releases.step(wanted, found)) == ["faces:1", "palsy:7"]
    gone = releases.step(wanted[:1], found)
    assert "palsy@champion is no longer served" in gone.news


def test_a_version_nobody_wants_before_it_is_ready_is_unloaded_at_once(releases):
    releases.step(MOVED, {"model-faces-1": READY})
    loading = {"model-faces-1": READY, "model-faces-2": LOADING}
    releases.step(MOVED, loading)
    back = [version("1", "champion")]
    steps = [releases.step(back, loading), releases.step(back, loading)]
    assert "model-faces-2" in steps[0].unload + steps[1].unload


def test_after_a_restart_the_gateways_table_goes_on(clock):
    routes = [version("1", "champion").route]
    releases = Releases(settings=ReleaseSettings(registry_uri=""), clock=clock)
    releases.adopt(routes)
    step = releases.step(MOVED, {"model-faces-1": READY, "model-faces-2": LOADING})
    assert (step.routes, step.news, step.load) == (tuple(routes), (), ())
