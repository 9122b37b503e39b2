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
    settings = ReleaseSettings(
        registry_uri="", keep_s=300, drain_s=65, first_retry_s=10, num_spares=0
    )
    releases = Releases(settings=settings, clock=clock)
    releases.step([version("1", "champion")], {})
    releases.step([version("1", "champion")], {"model-faces-1": READY})
    return releases


MOVED = [version("2", "champion")]


def test_an_alias_moves_only_when_its_new_version_is_ready(releases):
    first = releases.step(MOVED, {"model-faces-1": READY})
    assert first.load == {"model-faces-2": "s3://2"}
    assert (labels(first), holders(first)) == (["faces:1"], {"champion": "faces:1"})
    during = releases.step(MOVED, {"model-faces-1": READY, "model-faces-2": LOADING})
    assert (during.load, holders(during)) == ({}, {"champion": "faces:1"})
    after = releases.step(MOVED, {"model-faces-1": READY, "model-faces-2": READY})
    assert holders(after) == {"champion": "faces:2"}
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
    assert (back.load, holders(back)) == ({}, {"champion": "faces:1"})
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
    assert (step.unload, holders(step)) == (("model-faces-2",), {"champion": "faces:1"})
    clock.now += 9
    assert releases.step(MOVED, {"model-faces-1": READY}).load == {}
    clock.now += 2
    again = releases.step(MOVED, {"model-faces-1": READY})
    assert (again.load, again.news) == ({"model-faces-2": "s3://2"}, ())
    # The same reason is not told twice; the pause is longer.
    assert releases.step(MOVED, failed).news == ()
    clock.now += 19
    assert releases.step(MOVED, {"model-faces-1": READY}).load == {}
    clock.now += 2
    assert releases.step(MOVED, {"model-faces-1": READY}).load


def test_the_old_version_serves_for_as_long_as_the_new_one_fails(releases, clock):
    for _ in range(5):
        clock.now += 400
        step = releases.step(MOVED, {"model-faces-1": READY, "model-faces-2": FAILED})
        assert holders(step) == {"champion": "faces:1"}


def test_what_serve_repairs_stays_routed(releases):
    step = releases.step([version("1", "champion")], {"model-faces-1": LOADING})
    assert labels(step) == ["faces:1"]


def test_what_has_gone_is_loaded_again(releases):
    step = releases.step([version("1", "champion")], {})
    assert (labels(step), step.load) == ([], {"model-faces-1": "s3://1"})


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
    routes = [version("1", "champion").route()]
    releases = Releases(settings=ReleaseSettings(registry_uri=""), clock=clock)
    releases.adopt(routes)
    step = releases.step(MOVED, {"model-faces-1": READY, "model-faces-2": LOADING})
    assert (step.routes, step.news, step.load) == (tuple(routes), (), {})


ONE = [version("1", "champion")]


@pytest.fixture
def spared(clock):
    """As `releases`, with one spare application; returns them and its name."""
    releases = Releases(settings=ReleaseSettings(registry_uri="", num_spares=1), clock=clock)
    first = releases.step(ONE, {})
    assert first.load == {"model-faces-1": "s3://1"}, "versions come first"
    ((spare, package),) = releases.step(ONE, {"model-faces-1": READY}).load.items()
    assert (spare[:6], package) == ("spare-", "")
    return releases, spare


def test_a_version_takes_the_spare_place_and_the_next_spare_is_started_when_it_answers(spared):
    releases, spare = spared
    both = {"model-faces-1": READY, spare: READY}
    ready = releases.step(ONE, both)
    assert (ready.load, ready.news) == ({}, ("a place for the next version is ready",))
    assert releases.step(ONE, both).news == ()
    assert releases.step(MOVED, both).load == {spare: "s3://2"}
    during = releases.step(MOVED, {**both, spare: LOADING})
    assert (during.load, holders(during)) == ({}, {"champion": "faces:1"})
    after = releases.step(MOVED, both)
    assert (holders(after), [route.application for route in after.routes]) == (
        {"champion": "faces:2"},
        ["model-faces-1", spare],
    )
    (name,) = after.load
    assert name.startswith("spare-")
    assert name != spare


def test_a_spare_that_is_not_ready_helps_nobody(spared):
    releases, spare = spared
    step = releases.step(MOVED, {"model-faces-1": READY, spare: LOADING})
    assert step.load == {"model-faces-2": "s3://2"}


def test_a_damaged_version_in_a_spare_place_is_named_and_tried_again_elsewhere(spared, clock):
    releases, spare = spared
    releases.step(MOVED, {"model-faces-1": READY, spare: READY})
    step = releases.step(MOVED, {"model-faces-1": READY, spare: FAILED})
    assert step.news[0].startswith("faces:2 cannot be loaded (weights were changed)")
    assert (step.unload, holders(step)) == ((spare,), {"champion": "faces:1"})
    clock.now += 11
    going = releases.step(MOVED, {"model-faces-1": READY, spare: GOING}).load
    assert "s3://2" not in going.values()
    assert releases.step(MOVED, {"model-faces-1": READY}).load["model-faces-2"] == "s3://2"


def test_a_spare_that_cannot_start_is_removed_and_tried_again_later(spared, clock):
    releases, spare = spared
    step = releases.step(ONE, {"model-faces-1": READY, spare: FAILED})
    assert (step.load, step.unload) == ({}, (spare,))
    clock.now += 11
    assert len(releases.step(ONE, {"model-faces-1": READY}).load) == 1


def test_after_a_restart_places_that_nobody_knows_are_unloaded(clock):
    releases = Releases(settings=ReleaseSettings(registry_uri="", num_spares=1), clock=clock)
    releases.adopt([version("1", "champion").route("spare-1")])
    found = {"spare-1": READY, "spare-2": READY, "model-old-3": READY, "spare-4": GOING}
    step = releases.step(ONE, found)
    assert set(step.unload) == {"spare-2", "model-old-3"}
    assert [name for name in step.load if name in found] == []
    assert holders(step) == {"champion": "faces:1"}


def test_where_serve_was_not_reached_the_version_goes_elsewhere(spared):
    releases, spare = spared
    both = {"model-faces-1": READY, spare: READY}
    step = releases.step(MOVED, both)
    releases.was_not_loaded(step.load)
    again = releases.step(MOVED, both)
    # Nobody knows whether the spare place has the package: it must not be called.
    assert (again.load["model-faces-2"], again.unload) == ("s3://2", (spare,))
    assert holders(again) == {"champion": "faces:1"}
