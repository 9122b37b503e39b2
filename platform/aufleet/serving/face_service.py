"""aufleet.api.v1.FaceAnalysisService."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from grpc.aio import ServicerContext

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1.face_analysis_service_pb2_grpc import FaceAnalysisServiceServicer
from aufleet.errors import DeadlineError, InvalidRequestError
from aufleet.serving import answers
from aufleet.serving.call import current_call
from aufleet.serving.directory import Directory
from aufleet.serving.exchange import ModelFacts
from aufleet.serving.face_stream import FaceStream
from aufleet.serving.pipeline import AnalyzedFrame, Pipeline
from aufleet.serving.routing import Route


class FaceAnalysisService(FaceAnalysisServiceServicer):
    """Answers callers of the project's own API."""

    def __init__(self, directory: Directory, *, pipeline: Pipeline) -> None:
        self._directory, self._pipeline = directory, pipeline

    async def DetectActionUnits(
        self, request: messages.DetectActionUnitsRequest, context: ServicerContext
    ) -> messages.DetectActionUnitsResponse:
        """Answer which units are active."""
        route = self._directory.table.find(model=request.model, version=request.version, task="au")
        facts = self._directory.table.facts_of(route)
        units = _asked_units(request.units, facts=facts)
        analyzed = await self._analyze(request, route)
        frames = [
            answers.unit_frame(sent, frame, facts=facts, units=units)
            for sent, frame in zip(request.frames, analyzed, strict=True)
        ]
        return messages.DetectActionUnitsResponse(frames=frames, **_tail(route, analyzed))

    async def GradePalsy(
        self, request: messages.GradePalsyRequest, context: ServicerContext
    ) -> messages.GradePalsyResponse:
        """Answer how severe a palsy is."""
        route = self._directory.table.find(
            model=request.model, version=request.version, task="palsy"
        )
        self._directory.table.facts_of(route)
        analyzed = await self._analyze(request, route)
        pooled, num_used = answers.pooled_palsy(analyzed)
        frames = [
            answers.palsy_frame(sent, frame)
            for sent, frame in zip(request.frames, analyzed, strict=True)
        ]
        return messages.GradePalsyResponse(
            frames=frames, pooled=pooled, num_frames_used=num_used, **_tail(route, analyzed)
        )

    async def AnalyzeStream(
        self,
        request_iterator: AsyncIterator[messages.AnalyzeStreamRequest],
        context: ServicerContext,
    ) -> None:
        """Answer the frames of a video, in order."""
        idle_s = self._pipeline.limits.max_stream_idle_s
        stream = FaceStream(self._directory, pipeline=self._pipeline)
        async with aclosing(stream.answers(request_iterator)) as frames:
            async for frame in frames:
                try:
                    # Waits while the caller does not read.
                    await asyncio.wait_for(context.write(frame), idle_s)
                except TimeoutError:
                    raise DeadlineError(
                        f"no answer was taken for {idle_s:g} s", "read the answers of the stream"
                    ) from None

    async def ListModels(
        self, request: messages.ListModelsRequest, context: ServicerContext
    ) -> messages.ListModelsResponse:
        """Answer which versions are served."""
        table = self._directory.table
        return messages.ListModelsResponse(
            models=[
                answers.model_message(route, table.known_facts(route))
                for route in table.routes
                if request.task in (0, answers.TASKS[route.task])
            ],
            request_id=current_call().request_id,
            research_use_only=True,
        )

    async def GetModel(
        self, request: messages.GetModelRequest, context: ServicerContext
    ) -> messages.GetModelResponse:
        """Answer what is known of one version."""
        table = self._directory.table
        route = table.find(model=request.model, version=request.version)
        return messages.GetModelResponse(
            model=answers.model_message(route, table.known_facts(route)),
            request_id=current_call().request_id,
            research_use_only=True,
        )

    async def _analyze(
        self,
        request: messages.DetectActionUnitsRequest | messages.GradePalsyRequest,
        route: Route,
    ) -> list[AnalyzedFrame]:
        current_call().model = route.label
        return await self._pipeline.analyze(
            request.frames,
            analyzer=self._directory.analyzer_of(route),
            call=current_call(),
            attention=request.include_attention,
        )


def _asked_units(units: Sequence[int], *, facts: ModelFacts) -> frozenset[int]:
    unknown = sorted(set(units) - set(facts.units))
    if unknown:
        raise InvalidRequestError(
            f"units: the model does not detect {unknown[0]}",
            f"it detects {', '.join(map(str, facts.units))}",
        )
    return frozenset(units)


def _tail(route: Route, analyzed: Sequence[AnalyzedFrame]) -> Mapping[str, Any]:
    """Return the fields that end every answer."""
    call = current_call()
    return {
        "model": route.name,
        "version": route.version,
        "request_id": call.request_id,
        "timings_ms": answers.slowest(analyzed, total_ms=call.elapsed_ms),
        "research_use_only": True,
    }
