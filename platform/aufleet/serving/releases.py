"""Which versions are loaded, routed and unloaded next: decided here, done by `release_controller`.

    wanted by the registry -> loading -> ready: its aliases move to it
    no alias left          -> kept for a while -> out of the routing table -> drained -> unloaded

Nothing in here knows Ray or MLflow.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from aufleet.serving.config import ReleaseSettings
from aufleet.serving.routing import Route, ServedVersion, holders_of, settled

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
    load: tuple[ServedVersion, ...] = ()
    """To be started."""
    unload: tuple[str, ...] = ()
    """Applications to be removed: nobody calls them any more."""
    news: tuple[str, ...] = ()
    """What has happened, a sentence each."""


@dataclass(kw_only=True)
class _Release:
    """One version from its first wish to its end; times of the clock."""

    version: ServedVersion
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

    def adopt(self, routes: Iterable[Route]) -> None:
        """Go on from a routing table that is in use, as after a restart."""
        self.routes = tuple(routes)
        for route in self.routes:
            version = ServedVersion(
                name=route.name, version=route.version, aliases=(), task=route.task, package_uri=""
            )
            self._releases[route.application] = _Release(version=version, is_ready=True)

    def step(self, wanted: Sequence[ServedVersion], found: Mapping[str, Found]) -> Step:
        """Return what is to be done.

        Args:
            wanted: What the registry wants served, with the aliases of each.
            found: Application -> how it is; those of versions only.
        """
        news: list[str] = []
        self._take_wishes(wanted)
        self._take_states(found, news)
        routes = self._route()
        news += _moves(self.routes, routes)
        self.routes = routes
        return Step(
            routes=routes,
            load=tuple(self._to_load(found, news)),
            unload=tuple(self._to_unload(found, news)),
            news=tuple(news),
        )

    def routes_are_late(self) -> None:
        """Begin to wait anew for calls to end: the gateways have not taken the table yet."""
        for release in self._releases.values():
            release.unrouted_since = None

    def _take_wishes(self, wanted: Sequence[ServedVersion]) -> None:
        for release in self._releases.values():
            release.is_wanted = False
            release.version = replace(release.version, aliases=())
        for version in wanted:
            release = self._releases.setdefault(
                version.route.application, _Release(version=version)
            )
            release.version, release.is_wanted = version, True

    def _take_states(self, found: Mapping[str, Found], news: list[str]) -> None:
        for application, release in self._releases.items():
            state = found.get(application)
            if state is None or state.status == "going":
                release.is_ready = False
            elif state.status == "ready" and not release.is_ready:
                release.is_ready, release.failure, release.pause_s = True, "", 0.0
                news.append(f"{release.version.route.label} is loaded")
            elif (
                state.status == "failed"
                and not release.is_ready
                and self.clock() >= release.retry_at
            ):
                self._put_off(release, reason=state.reason, news=news)

    def _put_off(self, release: _Release, *, reason: str, news: list[str]) -> None:
        settings = self.settings
        release.pause_s = min(
            2 * release.pause_s or settings.first_retry_s, settings.longest_retry_s
        )
        release.retry_at = self.clock() + release.pause_s
        if reason != release.failure:
            release.failure = reason
            news.append(
                f"{release.version.route.label} cannot be loaded ({reason}); "
                f"{self._who_serves(release.version)}; it is tried again"
            )

    def _who_serves(self, version: ServedVersion) -> str:
        serving = [route.label for route in self.routes if route.name == version.name]
        return f"{', '.join(serving)} keeps serving" if serving else "nothing of it is served"

    def _route(self) -> tuple[Route, ...]:
        now, keep_s = self.clock(), self.settings.keep_s
        present = {
            application: release
            for application, release in self._releases.items()
            if release.leaving_since is None or now - release.leaving_since < keep_s
        }
        ready = {application for application, release in present.items() if release.is_ready}
        places = settled(
            [release.version.route for release in present.values()],
            held=holders_of(self.routes),
            can_answer=ready,
        )
        for route in places:
            release = self._releases[route.application]
            if release.is_wanted or (route.aliases and release.is_ready):
                release.leaving_since = None
            elif release.leaving_since is None:
                release.leaving_since = now
        return tuple(route for route in places if route.application in ready)

    def _to_load(self, found: Mapping[str, Found], news: list[str]) -> Iterable[ServedVersion]:
        now = self.clock()
        for application, release in self._releases.items():
            if release.is_wanted and application not in found and now >= release.retry_at:
                if not release.failure:
                    news.append(f"{release.version.route.label} is being loaded")
                yield release.version

    def _to_unload(self, found: Mapping[str, Found], news: list[str]) -> Iterable[str]:
        now, routed = self.clock(), {route.application for route in self.routes}
        for application, release in list(self._releases.items()):
            state = found.get(application)
            if application in routed:
                release.unrouted_since = None
            elif release.is_wanted:
                if state is not None and state.status == "failed":
                    yield application
            elif state is None:
                news.append(f"{release.version.route.label} is unloaded")
                del self._releases[application]
            elif release.unrouted_since is None:
                release.unrouted_since = now
            elif state.status != "going" and (
                not release.is_ready or now - release.unrouted_since >= self.settings.drain_s
            ):
                yield application


def _moves(before: Iterable[Route], after: Iterable[Route]) -> Iterable[str]:
    """Say which aliases have moved, and which versions are no longer found."""
    old, new = list(before), list(after)
    versions = {route.application: route.version for route in (*old, *new)}
    was, now = holders_of(old), holders_of(new)
    for (name, alias), application in sorted(now.items()):
        if was.get((name, alias)) != application:
            came = versions.get(was.get((name, alias), ""), "none")
            yield f"{name}@{alias}: version {came} -> {versions[application]}"
    for name, alias in sorted(set(was) - set(now)):
        yield f"{name}@{alias} is no longer served"
    present = {route.application for route in new}
    for route in old:
        if route.application not in present:
            yield f"{route.label} takes no more calls"
