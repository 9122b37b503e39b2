"""Which versions are loaded, routed and unloaded next: decided here, done by `release_controller`.

    wanted by the registry -> loading -> ready: its aliases move to it
    no alias left          -> kept for a while -> out of the routing table -> drained -> unloaded

A process that is started takes longer than a package that is loaded, so a version takes the place
of a spare one where there is one, and the next spare one is started.

Nothing in here knows Ray or MLflow.
"""

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from aufleet.serving.config import ReleaseSettings
from aufleet.serving.routing import SPARE_PREFIX, Route, ServedVersion, holders_of, settled

Status = Literal["loading", "ready", "failed", "going"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is running of one version."""

    status: Status
    """"failed" only where it never was ready."""
    reason: str = ""
    """One sentence where it failed."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is to be done now."""

    routes: tuple[Route, ...]
    """The routing table; its aliases stand at versions that are ready."""
    load: Mapping[str, str] = field(default_factory=dict)
    """Application -> URI of the package that it is to have, empty for a spare one: to be started,
    or spare ones that get a package."""
    unload: tuple[str, ...] = ()
    """Applications to be removed: nobody calls them any more."""
    news: tuple[str, ...] = ()
    """What has happened, a sentence each."""


@dataclass(kw_only=True)
class _Release:
    """One version from its first wish to its end; times of the clock."""

    version: ServedVersion
    application: str
    """That has it, or had it last, or may have it from before this controller's life."""
    is_wanted: bool = True
    is_ready: bool = False
    leaving_since: float | None = None
    unrouted_since: float | None = None
    retry_at: float = 0.0
    pause_s: float = 0.0
    failure: str = ""


@dataclass(kw_only=True)
class Releases:
    """The memory of a release controller."""

    settings: ReleaseSettings
    clock: Callable[[], float] = time.monotonic
    routes: tuple[Route, ...] = ()
    """The present routing table."""
    _releases: dict[str, _Release] = field(default_factory=dict)
    """By label."""
    _spares: dict[str, bool] = field(default_factory=dict)
    """Applications without a version that were started; whether they are ready."""
    _spare_again_at: float = 0.0

    @property
    def is_loading(self) -> bool:
        """Whether a version is expected to be ready soon."""
        return any(
            release.is_wanted and not release.is_ready and not release.failure
            for release in self._releases.values()
        )

    @property
    def is_changing(self) -> bool:
        """Whether a version or a spare place is expected to be ready soon."""
        return self.is_loading or not all(self._spares.values())

    def adopt(self, routes: Iterable[Route]) -> None:
        """Go on from a routing table that is in use, as after a restart."""
        self.routes = tuple(routes)
        for route in self.routes:
            version = ServedVersion(
                name=route.name, version=route.version, aliases=(), task=route.task, package_uri=""
            )
            self._releases[route.label] = _Release(
                version=version, application=route.application, is_ready=True
            )

    def step(self, wanted: Sequence[ServedVersion], found: Mapping[str, Found]) -> Step:
        """Return what is to be done.

        Args:
            wanted: What the registry wants served, with the aliases of each.
            found: Application -> how it is; those of versions and spare ones only.
        """
        news: list[str] = []
        self._take_wishes(wanted)
        self._take_states(found, news)
        self._take_spares(found, news)
        routes = self._route()
        news += _moves(self.routes, routes)
        self.routes = routes
        return Step(
            routes=routes,
            load=dict([*self._to_load(found, news), *self._spares_to_start()]),
            unload=(*self._to_unload(found, news), *self._strays(found)),
            news=tuple(news),
        )

    def routes_are_late(self) -> None:
        """Begin to wait anew for calls to end: the gateways have not taken the table yet."""
        for release in self._releases.values():
            release.unrouted_since = None

    def was_not_loaded(self, applications: Collection[str]) -> None:
        """Choose anew where versions go: nobody knows whether Serve has taken these."""
        for release in self._releases.values():
            if release.application in applications:
                release.application = release.version.own_application

    def _take_wishes(self, wanted: Sequence[ServedVersion]) -> None:
        for release in self._releases.values():
            release.is_wanted = False
            release.version = replace(release.version, aliases=())
        for version in wanted:
            release = self._releases.setdefault(
                version.label, _Release(version=version, application=version.own_application)
            )
            release.version, release.is_wanted = version, True

    def _take_states(self, found: Mapping[str, Found], news: list[str]) -> None:
        for release in self._releases.values():
            state = found.get(release.application)
            if state is None or state.status == "going":
                release.is_ready = False
            elif state.status == "ready" and not release.is_ready:
                release.is_ready, release.failure, release.pause_s = True, "", 0.0
                news.append(f"{release.version.label} is loaded")
            elif (
                state.status == "failed"
                and not release.is_ready
                and self.clock() >= release.retry_at
            ):
                self._put_off(release, reason=state.reason, news=news)

    def _take_spares(self, found: Mapping[str, Found], news: list[str]) -> None:
        for name, was_ready in list(self._spares.items()):
            state = found.get(name)
            if state is None or state.status == "failed":
                del self._spares[name]
                self._spare_again_at = self.clock() + self.settings.first_retry_s
                continue
            self._spares[name] = is_ready = state.status == "ready"
            if is_ready and not was_ready:
                news.append("a place for the next version is ready")

    def _put_off(self, release: _Release, *, reason: str, news: list[str]) -> None:
        settings = self.settings
        release.pause_s = min(
            2 * release.pause_s or settings.first_retry_s, settings.longest_retry_s
        )
        release.retry_at = self.clock() + release.pause_s
        if reason != release.failure:
            release.failure = reason
            news.append(
                f"{release.version.label} cannot be loaded ({reason}); "
                f"{self._who_serves(release.version)}; it is tried again"
            )

    def _who_serves(self, version: ServedVersion) -> str:
        serving = [route.label for route in self.routes if route.name == version.name]
        return f"{', '.join(serving)} keeps serving" if serving else "nothing of it is served"

    def _route(self) -> tuple[Route, ...]:
        now, keep_s = self.clock(), self.settings.keep_s
        present = {
            label: release
            for label, release in self._releases.items()
            if release.leaving_since is None or now - release.leaving_since < keep_s
        }
        ready = {label for label, release in present.items() if release.is_ready}
        places = settled(
            [release.version.route(release.application) for release in present.values()],
            held=holders_of(self.routes),
            can_answer=ready,
        )
        for route in places:
            release = self._releases[route.label]
            if release.is_wanted or (route.aliases and release.is_ready):
                release.leaving_since = None
            elif release.leaving_since is None:
                release.leaving_since = now
        return tuple(route for route in places if route.label in ready)

    def _to_load(self, found: Mapping[str, Found], news: list[str]) -> Iterator[tuple[str, str]]:
        """Yield applications and the packages that they are to have."""
        now = self.clock()
        for release in self._releases.values():
            if not release.is_wanted or release.application in found or now < release.retry_at:
                continue
            place = self._place_of(release.version)
            if self._spares.pop(place, None) is None and place in found:  # it is still going
                continue
            release.application = place
            if not release.failure:
                news.append(f"{release.version.label} is being loaded")
            yield place, release.version.package_uri

    def _place_of(self, version: ServedVersion) -> str:
        """Return a spare application that is ready, or else the version's own."""
        ready = (name for name, is_ready in self._spares.items() if is_ready)
        return next(ready, version.own_application)

    def _spares_to_start(self) -> Iterator[tuple[str, str]]:
        """Yield spare applications to be started; not while versions need the processors."""
        if self.clock() < self._spare_again_at or self.is_loading:
            return
        while len(self._spares) < self.settings.num_spares:
            name = f"{SPARE_PREFIX}{uuid.uuid4().hex[:8]}"
            self._spares[name] = False
            yield name, ""

    def _strays(self, found: Mapping[str, Found]) -> Iterator[str]:
        """Yield applications that nobody knows of, as those of a controller that was killed."""
        known = {release.application for release in self._releases.values()} | set(self._spares)
        for application, state in found.items():
            if application not in known and state.status != "going":
                yield application

    def _to_unload(self, found: Mapping[str, Found], news: list[str]) -> Iterable[str]:
        now, routed = self.clock(), {route.label for route in self.routes}
        for label, release in list(self._releases.items()):
            state = found.get(release.application)
            if label in routed:
                release.unrouted_since = None
            elif release.is_wanted:
                if state is not None and state.status == "failed":
                    yield release.application
            elif state is None:
                news.append(f"{label} is unloaded")
                del self._releases[label]
            elif release.unrouted_since is None:
                release.unrouted_since = now
            elif state.status != "going" and (
                not release.is_ready or now - release.unrouted_since >= self.settings.drain_s
            ):
                yield release.application


def _moves(before: Iterable[Route], after: Iterable[Route]) -> Iterable[str]:
    """Say which aliases have moved, and which versions are no longer found."""
    old, new = list(before), list(after)
    versions = {route.label: route.version for route in (*old, *new)}
    was, now = holders_of(old), holders_of(new)
    for (name, alias), label in sorted(now.items()):
        if was.get((name, alias)) != label:
            came = versions.get(was.get((name, alias), ""), "none")
            yield f"{name}@{alias}: version {came} -> {versions[label]}"
    for name, alias in sorted(set(was) - set(now)):
        yield f"{name}@{alias} is no longer served"
    present = {route.label for route in new}
    for route in old:
        if route.label not in present:
            yield f"{route.label} takes no more calls"
