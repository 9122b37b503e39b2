"""Open Inference Protocol v2 (`inference.GRPCInferenceService`), for standard clients."""

from collections.abc import Sequence

import numpy as np
from grpc.aio import ServicerContext

from aufleet import __version__
from aufleet.api.v1 import face_pb2
from aufleet.data.alignment import CENTRE_OFFSET
from aufleet.domain.landmarks import NUM_POINTS
from aufleet.errors import ModelNotFoundError
from aufleet.inference.v2 import open_inference_pb2 as messages
from aufleet.inference.v2.open_inference_pb2_grpc import GRPCInferenceServiceServicer
from aufleet.serving import tensors
from aufleet.serving.call import current_call
from aufleet.serving.config import Limits
from aufleet.serving.directory import Directory
from aufleet.serving.exchange import NetworkAnswers
from aufleet.serving.pipeline import AnalyzedFrame, Pipeline, Replicas
from aufleet.serving.replicas import answer_of
from aufleet.serving.tensors import InferenceOutput

PLATFORM = "pytorch"


class InferenceService(GRPCInferenceServiceServicer):
    """Answers KServe and Triton clients."""

    def __init__(self, directory: Directory, *, pipeline: Pipeline, limits: Limits) -> None:
        self._directory, self._pipeline, self._limits = directory, pipeline, limits

    async def ServerLive(
        self, request: messages.ServerLiveRequest, context: ServicerContext
    ) -> messages.ServerLiveResponse:
        """Answer that the gateway runs."""
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: messages.ServerReadyRequest, context: ServicerContext
    ) -> messages.ServerReadyResponse:
        """Answer whether every model is ready."""
        table = self._directory.table
        return messages.ServerReadyResponse(
            ready=all(table.known_facts(route) is not None for route in table.routes)
        )

    async def ModelReady(
        self, request: messages.ModelReadyRequest, context: ServicerContext
    ) -> messages.ModelReadyResponse:
        """Answer whether a model is ready; one that is not served is not."""
        table = self._directory.table
        try:
            route = table.find(model=request.name, version=request.version)
        except ModelNotFoundError:
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=table.known_facts(route) is not None)

    async def ServerMetadata(
        self, request: messages.ServerMetadataRequest, context: ServicerContext
    ) -> messages.ServerMetadataResponse:
        """Answer who we are."""
        return messages.ServerMetadataResponse(name="aufleet", version=__version__)

    async def ModelMetadata(
        self, request: messages.ModelMetadataRequest, context: ServicerContext
    ) -> messages.ModelMetadataResponse:
        """Answer what a model takes and gives."""
        table = self._directory.table
        route = table.find(model=request.name, version=request.version)
        facts = table.facts_of(route)
        return messages.ModelMetadataResponse(
            name=route.name,
            versions=[each.version for each in table.routes if each.name == route.name],
            platform=PLATFORM,
            inputs=tensors.INPUT_METADATA,
            outputs=tensors.output_metadata(facts.num_outputs),
        )

    async def ModelInfer(
        self, request: messages.ModelInferRequest, context: ServicerContext
    ) -> messages.ModelInferResponse:
        """Answer probabilities, landmarks and a status per element."""
        table = self._directory.table
        route = table.find(model=request.model_name, version=request.model_version)
        num_outputs = table.facts_of(route).num_outputs
        given = tensors.read_input(request, max_elements=self._limits.max_frames)
        tensors.asked_outputs(request)
        current_call().model = route.label
        analyzer = self._directory.analyzer_of(route)
        if given.frames is not None:
            answers: NetworkAnswers = await answer_of(
                analyzer.analyze.remote(
                    list(given.frames),
                    attention=False,
                    timeout_s=current_call().remaining_s,
                    turn=current_call().turn,
                )
            )
            output = _output_of_crops(answers)
        else:
            frames = await self._analyze_images(given.images or (), analyzer=analyzer)
            output = _output_of_images(frames, num_outputs=num_outputs)
        response = tensors.write_outputs(output, request=request, version=route.version)
        # Empty where the request leaves it to the service.
        response.model_name = route.name
        response.parameters["request_id"].string_param = current_call().request_id
        response.parameters["research_use_only"].bool_param = True
        if any(output.reasons):
            response.parameters["ungradable_reasons"].string_param = ",".join(output.reasons)
        return response

    async def _analyze_images(
        self, images: Sequence[bytes], *, analyzer: Replicas
    ) -> list[AnalyzedFrame]:
        return await self._pipeline.analyze(
            [face_pb2.Frame(encoded=image) for image in images],
            analyzer=analyzer,
            call=current_call(),
            name_field=lambda _frame, index: f"{tensors.IMAGE}[{index}]",
        )


def _output_of_crops(answers: NetworkAnswers) -> InferenceOutput:
    count = len(answers.probabilities)
    landmarks = np.full((count, NUM_POINTS, 2), np.nan, dtype=np.float32)
    if answers.landmarks is not None:
        landmarks = answers.landmarks - np.float32(CENTRE_OFFSET)
    return InferenceOutput(
        probability=answers.probabilities,
        landmarks=landmarks,
        status=np.full(count, face_pb2.FRAME_STATUS_OK, dtype=np.int32),
    )


def _output_of_images(frames: Sequence[AnalyzedFrame], *, num_outputs: int) -> InferenceOutput:
    probability = np.full((len(frames), num_outputs), np.nan, dtype=np.float32)
    landmarks = np.full((len(frames), NUM_POINTS, 2), np.nan, dtype=np.float32)
    for row, frame in enumerate(frames):
        if frame.faces and frame.faces[0].probabilities.size:
            probability[row] = frame.faces[0].probabilities
        if frame.faces:
            landmarks[row] = frame.faces[0].landmarks
    return InferenceOutput(
        probability=probability,
        landmarks=landmarks,
        status=np.array([frame.status for frame in frames], dtype=np.int32),
        reasons=tuple(
            frame.ungradable.reason.upper() if frame.ungradable else "" for frame in frames
        ),
    )
