"""Which model version a request means."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aufleet.errors import InvalidRequestError, ModelNotFoundError, NotReadyError, WrongTaskError
from aufleet.serving.exchange import ModelFacts, Task

CHAMPION = "champion"
APPLICATION_PREFIX, SPARE_PREFIX = "model-", "spare-"
"""Of the Serve applications that hold a model version; of those that began without one. Those keep
their name when they get one."""
TASK_NAMES: dict[Task, str] = {"au": "action units", "palsy": "palsy grades"}


@dataclass(frozen=True, kw_only=True)
class Route:
    """One served model version; plain values, because it reaches the gateway as configuration."""

    name: str
    """The model's name in the registry."""
    version: str
    """Its version there."""
    aliases: tuple[str, ...]
    """Aliases that point to the version."""
    task: Task
    """What it answers."""
    application: str
    """The Serve application of its analyzers."""

    @property
    def label(self) -> str:
        """NAME:VERSION, also the name of its health service."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, kw_only=True)
class ServedVersion:
    """A model version that is to be served."""

    name: str
    """In the registry."""
    version: str
    """In the registry."""
    aliases: tuple[str, ...]
    """That point to it."""
    task: Task
    """What it answers."""
    package_uri: str
    """Where its package lies."""

    @property
    def label(self) -> str:
        """As `Route.label`."""
        return f"{self.name}:{self.version}"

    @property
    def own_application(self) -> str:
        """The Serve application that is made for it where no spare takes it."""
        return re.sub(r"[^\w-]", "_", f"{APPLICATION_PREFIX}{self.name}-{self.version}")

    def route(self, application: str = "") -> Route:
        """Return how the gateway finds its analyzers.

        Args:
            application: That has them; empty for its own.
        """
        return Route(
            name=self.name,
            version=self.version,
            aliases=self.aliases,
            task=self.task,
            application=application or self.own_application,
        )


def holders_of(routes: Iterable[Route]) -> dict[tuple[str, str], str]:
    """Return (model, alias) -> the label of the version that has it."""
    return {(route.name, alias): route.label for route in routes for alias in route.aliases}


def settled(
    wanted: Sequence[Route], *, held: Mapping[tuple[str, str], str], can_answer: Collection[str]
) -> list[Route]:
    """Return the wanted routes with each alias where it may be.

    An alias whose new version cannot answer yet stays with the one that has it, as long as that
    one is routed at all: nobody is sent to a model that is not there.

    Args:
        wanted: Every version that is routed, with the aliases that it is to have.
        held: (model, alias) -> the label of the version that has it now.
        can_answer: Labels of versions that are ready.
    """
    present = {route.label for route in wanted}
    places = holders_of(wanted)
    for key, label in places.items():
        holder = held.get(key)
        if label not in can_answer and holder in present:
            places[key] = holder
    return [
        replace(
            route,
            aliases=tuple(
                sorted(
                    alias
                    for (name, alias), label in places.items()
                    if (name, label) == (route.name, route.label)
                )
            ),
        )
        for route in wanted
    ]


class RoutingTable:
    """The served versions, and what their analyzers have told of themselves."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self.routes = tuple(sorted(routes, key=lambda route: (route.name, route.version)))
        self._facts: dict[str, ModelFacts] = {}

    def learn(self, route: Route, facts: ModelFacts) -> None:
        """Keep what an analyzer says of its package: from now on the version is ready."""
        self._facts[route.application] = facts

    def known_facts(self, route: Route) -> ModelFacts | None:
        """Return what is known of a version; None until its analyzer is ready."""
        return self._facts.get(route.application)

    def facts_of(self, route: Route) -> ModelFacts:
        """Return what is known of a version.

        Raises:
            NotReadyError: Its analyzer is not ready yet.
        """
        facts = self.known_facts(route)
        if facts is None:
            raise NotReadyError(f"model {route.label} is not ready", "try again in a moment")
        return facts

    def find(self, *, model: str, version: str, task: Task | None = None) -> Route:
        """Return the version that a request means.

        Args:
            model: A name; empty where one model answers the task.
            version: A version or an alias; empty for the champion, or for the only version.
            task: What is to be answered; None for anything.

        Raises:
            ModelNotFoundError: No such model or version; the served ones are listed.
            WrongTaskError: The model answers something else.
            InvalidRequestError: Several models could be meant.
        """
        candidates = self._named(model) if model else self._only_model_for(task)
        route = self._pick(candidates, version=version)
        if task is not None and route.task != task:
            raise WrongTaskError(
                f"model {route.name!r} answers {TASK_NAMES[route.task]}, not {TASK_NAMES[task]}",
                f"served: {self._listing()}",
            )
        return route

    def _named(self, name: str) -> list[Route]:
        found = [route for route in self.routes if route.name == name]
        if not found:
            raise ModelNotFoundError(
                f"model {name[:100]!r} is not served", f"served: {self._listing()}"
            )
        return found

    def _only_model_for(self, task: Task | None) -> list[Route]:
        found = [route for route in self.routes if task is None or route.task == task]
        names = sorted({route.name for route in found})
        if len(names) > 1:
            raise InvalidRequestError(
                "model: the field is empty, and several models could be meant",
                f"name one of {', '.join(names)}",
            )
        if not found:
            wanted = "any model" if task is None else TASK_NAMES[task]
            raise ModelNotFoundError(
                f"no served model answers {wanted}", f"served: {self._listing()}"
            )
        return found

    def _pick(self, candidates: Sequence[Route], *, version: str) -> Route:
        if not version and (only := _only_one_meant(candidates)):
            return only
        wanted = version or CHAMPION
        for route in candidates:
            if wanted == route.version or wanted in route.aliases:
                return route
        name = candidates[0].name
        raise ModelNotFoundError(
            f"model {name!r} has no served version or alias {wanted[:100]!r}",
            f"served: {self._listing()}",
        )

    def _listing(self) -> str:
        return ", ".join(f"{route.label} ({TASK_NAMES[route.task]})" for route in self.routes)


def _only_one_meant(candidates: Sequence[Route]) -> Route | None:
    """Return the version that is meant where a request names none and none is champion.

    A version whose alias has moved on stays for a while: it must not make the others doubtful.
    """
    with_alias = [route for route in candidates if route.aliases]
    found = with_alias if len(candidates) > 1 else candidates
    return found[0] if len(found) == 1 else None
