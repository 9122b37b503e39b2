"""`AsyncClient`: the same calls for asyncio."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import grpc

from aufleet.api.v1 import face_analysis_service_pb2 as service
from aufleet.api.v1 import face_analysis_service_pb2_grpc as rpc
from aufleet.client import messages
from aufleet.client.connection import OPTIONS, REQUEST_ID_KEY, credentials, new_request_id
from aufleet.client.errors import translate
from aufleet.client.messages import Image
from aufleet.client.results import FrameResult, Model, SeriesResult
from aufleet.client.retry import RetryPolicy, asked_pause_s, is_retried


class AsyncClient:
    """Asks a gateway about pictures; made and used inside one event loop.

    Arguments and errors are those of `Client`.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str,
        root_certificates: bytes | str | Path | None = None,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._timeout_s, self._retry = timeout_s, retry or RetryPolicy()
        self._channel = grpc.aio.secure_channel(
            target, credentials(token, root_certificates), options=OPTIONS
        )
        self._stub = rpc.FaceAnalysisServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; open calls are cancelled."""
        await self._channel.close()

    async def detect_action_units(
        self,
        image: Image,
        *,
        model: str = "",
        version: str = "",
        mirrored: bool = False,
        all_faces: bool = False,
    ) -> FrameResult:
        """Return the action units of a picture given as bytes or as the path of a file."""
        request = messages.units_request(
            image, model=model, version=version, mirrored=mirrored, all_faces=all_faces
        )
        return messages.first_result(await self._call(self._stub.DetectActionUnits, request))

    async def grade_palsy(
        self,
        image: Image,
        *,
        model: str = "",
        version: str = "",
        mirrored: bool = False,
        all_faces: bool = False,
    ) -> FrameResult:
        """Return the palsy grade of a picture given as bytes or as the path of a file."""
        request = messages.palsy_request(
            [image], model=model, version=version, mirrored=mirrored, all_faces=all_faces
        )
        return messages.first_result(await self._call(self._stub.GradePalsy, request))

    async def grade_palsy_series(
        self, images: Sequence[Image], *, model: str = "", version: str = ""
    ) -> SeriesResult:
        """Return the grade of each of several pictures of one patient, and of all together."""
        request = messages.palsy_request(
            images, model=model, version=version, mirrored=False, all_faces=False
        )
        return messages.series_result(await self._call(self._stub.GradePalsy, request))

    async def detect_in_aligned(
        self, crops: Sequence[bytes], *, model: str = "", version: str = ""
    ) -> list[FrameResult]:
        """Return the action units of faces that are aligned already, JPEGs of 200 x 200 pixels."""
        request = service.DetectActionUnitsRequest(
            frames=messages.aligned_frames(crops), model=model, version=version
        )
        return messages.unit_results(await self._call(self._stub.DetectActionUnits, request))

    async def grade_aligned(
        self, crops: Sequence[bytes], *, model: str = "", version: str = ""
    ) -> SeriesResult:
        """Return the palsy grades of faces that are aligned already, JPEGs of 200 x 200 pixels."""
        request = service.GradePalsyRequest(
            frames=messages.aligned_frames(crops), model=model, version=version
        )
        return messages.series_result(await self._call(self._stub.GradePalsy, request))

    async def list_models(self) -> list[Model]:
        """Return the models that are served."""
        answer = await self._call(self._stub.ListModels, service.ListModelsRequest())
        return messages.models(answer.models)

    async def get_model(self, name: str, *, version: str = "") -> Model:
        """Return one served model."""
        request = service.GetModelRequest(model=name, version=version)
        return messages.model((await self._call(self._stub.GetModel, request)).model)

    async def _call(self, method: Callable[..., Any], request: object) -> Any:  # noqa: ANN401
        request_id = new_request_id()
        began = time.monotonic()
        for pause_s in self._retry.pauses():
            try:
                return await method(
                    request, timeout=self._timeout_s, metadata=[(REQUEST_ID_KEY, request_id)]
                )
            except grpc.RpcError as error:
                pause_s = max(pause_s, asked_pause_s(error))
                waited_s = time.monotonic() - began + pause_s
                if not is_retried(error) or waited_s > self._retry.total_s:
                    raise translate(error, request_id=request_id) from None
            await asyncio.sleep(pause_s)
        raise AssertionError("the pauses never end")
