"""One stream of `AnalyzeStream`: its configuration, its frames in order, their answers."""

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.errors import DeadlineError, InvalidRequestError, NotReadyError, OverloadedError
from aufleet.serving import answers
from aufleet.serving.call import Call, current_call
from aufleet.serving.directory import Directory
from aufleet.serving.exchange import ModelFacts
from aufleet.serving.in_order import Room, answer_in_order
from aufleet.serving.pipeline import AnalyzedFrame, Pipeline, size_of
from aufleet.serving.routing import Route
from aufleet.serving.smoothing import Smoother

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
"""Between two attempts at a frame whose replicas are busy or just restarting."""

_Result = TypeVar("_Result")
_Message = TypeVar("_Message")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """A frame with the version that answered."""

    sent: messages.StreamFrame
    analyzed: AnalyzedFrame
    route: Route
    facts: ModelFacts
    total_ms: float


class FaceStream:
    """Answers the frames of one caller.

    A model that is named by an alias is looked up for each frame: a long stream follows a move of
    the alias as a new call does, and each answer says which version gave it. A frame whose replicas
    are busy or restarting waits and is tried again for as long as one call may take: a caller
    cannot send a frame of a stream again.
    """

    def __init__(self, directory: Directory, *, pipeline: Pipeline) -> None:
        self._directory, self._pipeline = directory, pipeline
        self._call = current_call()
        self._last_time_s = -math.inf
        self._smoother: Smoother | None = None

    async def answers(
        self, requests: AsyncIterator[messages.AnalyzeStreamRequest]
    ) -> AsyncGenerator[messages.AnalyzeStreamResponse, None]:
        """Yield the answer of each frame, in order.

        Args:
            requests: The configuration, then the frames.

        Raises:
            InvalidRequestError: A wrong message; raised after the answers of those before it.
            AufleetError: Whatever else ends the stream.
        """
        limits = self._pipeline.limits
        requests = _without_idling(requests, idle_s=limits.max_stream_idle_s)
        config = await _first_config(requests)
        if config.smoothing_time_s:
            self._smoother = Smoother(config.smoothing_time_s)
        self._route(config)
        judged = answer_in_order(
            self._frames(requests),
            lambda frame: self._judge(frame, config),
            room=Room(max_items=limits.max_stream_frames, max_bytes=limits.max_stream_bytes),
            size_of=lambda sent: size_of(sent.frame),
        )
        async with aclosing(judged):
            async for each in judged:
                yield self._response(each)

    async def _frames(
        self, requests: AsyncIterator[messages.AnalyzeStreamRequest]
    ) -> AsyncIterator[messages.StreamFrame]:
        async for request in requests:
            if request.WhichOneof("message") != "frame":
                raise InvalidRequestError(
                    f"{request.WhichOneof('message') or 'frame'}: only the first message "
                    "configures the stream",
                    "send a frame in every further one",
                )
            self._check(request.frame)
            yield request.frame

    def _check(self, sent: messages.StreamFrame) -> None:
        content = sent.frame.WhichOneof("content") or "encoded"
        self._pipeline.check_size(sent.frame, field_name=f"frame.frame.{content}")
        time_s, last_s = sent.time_s, self._last_time_s
        if not math.isfinite(time_s):
            raise InvalidRequestError(f"frame.time_s: {time_s} is no time", "send seconds")
        if time_s < last_s:
            raise InvalidRequestError(
                f"frame.time_s: {time_s:g} comes after {last_s:g}", "send frames in their order"
            )
        if self._smoother is not None and time_s == last_s:
            raise InvalidRequestError(
                f"frame.time_s: {time_s:g} comes twice, which cannot be smoothed over time",
                "give each frame its own time",
            )
        self._last_time_s = time_s

    def _route(self, config: messages.StreamConfig) -> Route:
        """Return the version that answers now."""
        table = self._directory.table
        route = table.find(model=config.model, version=config.version)
        self._call.model = route.label
        return route

    async def _judge(self, sent: messages.StreamFrame, config: messages.StreamConfig) -> _Judged:
        now = time.monotonic()
        longest_s = self._pipeline.limits.max_call_s
        call = replace(
            self._call, began_s=now, deadline_s=min(self._call.deadline_s, now + longest_s)
        )

        async def attempt() -> _Judged:
            async with self._pipeline.stream_turns:
                route = self._route(config)
                facts = self._directory.table.facts_of(route)
                analyzed = await self._pipeline.analyze_frame(
                    sent.frame,
                    analyzer=self._directory.analyzer_of(route),
                    call=call,
                    attention=config.include_attention,
                )
            return _Judged(
                sent=sent, analyzed=analyzed, route=route, facts=facts, total_ms=call.elapsed_ms
            )

        return await _persist(attempt, call=call)

    def _response(self, judged: _Judged) -> messages.AnalyzeStreamResponse:
        sent, route, analyzed = judged.sent, judged.route, judged.analyzed
        if self._smoother is not None:
            analyzed = self._smoother.smooth(
                analyzed,
                time_s=sent.time_s,
                task=route.task,
                answered_by=(route.label, sent.frame.mirrored),
            )
        if route.task == "au":
            frame = answers.unit_frame(sent.frame, analyzed, facts=judged.facts, units=())
        else:
            frame = answers.palsy_frame(sent.frame, analyzed)
        return messages.AnalyzeStreamResponse(
            frame=frame,
            model=route.name,
            version=route.version,
            request_id=self._call.request_id,
            timings_ms=answers.slowest([analyzed], total_ms=judged.total_ms),
            research_use_only=True,
            time_s=sent.time_s,
        )


async def _first_config(
    requests: AsyncIterator[messages.AnalyzeStreamRequest],
) -> messages.StreamConfig:
    first = await anext(requests, None)
    if first is None or first.WhichOneof("message") != "config":
        raise InvalidRequestError(
            "config: the first message does not configure the stream",
            "send a StreamConfig first, then the frames",
        )
    smoothing_s = first.config.smoothing_time_s
    if not 0 <= smoothing_s < math.inf:
        raise InvalidRequestError(
            f"config.smoothing_time_s: {smoothing_s:g} is no time constant",
            "send seconds, 0 for none",
        )
    return first.config


async def _without_idling(
    messages: AsyncIterator[_Message], *, idle_s: float
) -> AsyncIterator[_Message]:
    """Yield what comes; raise where nothing comes for long."""
    while True:
        try:
            async with asyncio.timeout(idle_s):
                message = await anext(messages)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise DeadlineError(
                f"the stream brought nothing for {idle_s:g} s", "open another one when frames come"
            ) from None
        yield message


async def _persist(attempt: Callable[[], Awaitable[_Result]], *, call: Call) -> _Result:
    """Try until it works or the call's time is over."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await attempt()
        except (OverloadedError, NotReadyError):
            if call.remaining_s <= pause_s:
                raise
        await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
