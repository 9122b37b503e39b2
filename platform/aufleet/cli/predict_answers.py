"""Asks a service about pictures, several at a time, and about videos, as streams."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from aufleet.cli.output import errors
from aufleet.cli.predict_sources import Source

if TYPE_CHECKING:
    from aufleet.client import Client, FrameResult

Task = Literal["au", "palsy"]
AT_ONCE = 8
"""Pictures that are asked about at the same time."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked of each picture or video; the options of the verb."""

    model: str
    task: Task | None
    smoothing_s: float
    rate_hz: float | None
    all_faces: bool
    mirrored: bool

    @property
    def name_and_version(self) -> tuple[str, str]:
        """Name of the model, and its version or alias; empty where they are not said."""
        name, _, version = self.model.replace("@", ":").partition(":")
        return name, version


def answers_of(
    client: "Client", sources: Sequence[Source], questions: Questions
) -> "Iterator[tuple[Source, FrameResult]]":
    """Yield each source with its answer, a video with one per frame, in order.

    Of several sources, one that is no picture has that as its answer.

    Raises:
        ClientError: A call ended without an answer.
        ConfigError: A file cannot be read.
    """
    asked = _Asked(client, questions, is_one=len(sources) == 1)
    for is_video, group in groupby(sources, key=lambda source: source.is_video):
        together = list(group)
        yield from asked.videos(together) if is_video else asked.pictures(together)


class _Asked:
    """The questions of one run; the first picture finds out which task the model answers."""

    def __init__(self, client: "Client", questions: Questions, *, is_one: bool) -> None:
        self._client, self._questions, self._is_one = client, questions, is_one
        self._task: Task | None = questions.task

    def pictures(self, sources: list[Source]) -> "Iterator[tuple[Source, FrameResult]]":
        # One by one until the task is known, so that the others are asked about once.
        while sources and self._task is None:
            yield sources[0], self._picture(sources.pop(0))
        with ThreadPoolExecutor(AT_ONCE) as threads:
            yield from zip(sources, threads.map(self._picture, sources), strict=True)

    def videos(self, sources: Sequence[Source]) -> "Iterator[tuple[Source, FrameResult]]":
        name, version = self._questions.name_and_version
        for source in sources:
            results = self._client.analyze_video(
                source.content,
                model=name,
                version=version,
                smoothing_time_s=self._questions.smoothing_s,
                max_rate_hz=self._questions.rate_hz,
                mirrored=self._questions.mirrored,
                progress=errors.is_terminal,
            )
            for result in results:
                yield source, result

    def _picture(self, source: Source) -> "FrameResult":
        from aufleet.client import FrameResult, RejectedError

        try:
            return self._ask(source.read())
        except RejectedError as error:
            if self._is_one or error.code != "INVALID_ARGUMENT":
                raise
            # The others are answered all the same.
            return FrameResult(
                status="NOT_AN_IMAGE",
                model="",
                version="",
                request_id=error.request_id,
                message=str(error),
            )

    def _ask(self, encoded: bytes) -> "FrameResult":
        from aufleet.client import RejectedError

        if self._task is not None:
            return self._ask_for(self._task, encoded)
        try:
            return self._learned("au", encoded)
        except RejectedError as error:
            # Asking what is served would need a scope of its own, so the service's refusal tells.
            if error.code not in {"FAILED_PRECONDITION", "NOT_FOUND"}:
                raise
            refusal = error
        try:
            return self._learned("palsy", encoded)
        except RejectedError:
            raise refusal from None

    def _learned(self, task: Task, encoded: bytes) -> "FrameResult":
        result = self._ask_for(task, encoded)
        self._task = task
        return result

    def _ask_for(self, task: Task, encoded: bytes) -> "FrameResult":
        name, version = self._questions.name_and_version
        method = self._client.grade_palsy if task == "palsy" else self._client.detect_action_units
        return method(
            encoded,
            model=name,
            version=version,
            mirrored=self._questions.mirrored,
            all_faces=self._questions.all_faces,
        )
