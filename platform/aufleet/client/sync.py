"""`Client`: blocking calls."""

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


class Client:
    """Asks a gateway about pictures. Thread-safe; close it or use it as a context manager.

    Args:
        target: "host:port" of the gateway.
        token: The caller's token.
        root_certificates: PEM bytes or the path of a PEM file; None for the system's.
        timeout_s: Time for one attempt.
        retry: When a request is tried again.

    Every call raises a `ClientError` with the gRPC `code` where it ends without an answer.
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
        self._channel = grpc.secure_channel(
            target, credentials(token, root_certificates), options=OPTIONS
        )
        self._stub = rpc.FaceAnalysisServiceStub(self._channel)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; open calls are cancelled."""
        self._channel.close()

    def detect_action_units(
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
        return messages.first_result(self._call(self._stub.DetectActionUnits, request))

    def grade_palsy(
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
        return messages.first_result(self._call(self._stub.GradePalsy, request))

    def grade_palsy_series(
        self, images: Sequence[Image], *, model: str = "", version: str = ""
    ) -> SeriesResult:
        """Return the grade of each of several pictures of one patient, and of all together."""
        request = messages.palsy_request(
            images, model=model, version=version, mirrored=False, all_faces=False
        )
        return messages.series_result(self._call(self._stub.GradePalsy, request))

    def detect_in_aligned(
        self, crops: Sequence[bytes], *, model: str = "", version: str = ""
    ) -> list[FrameResult]:
        """Return the action units of faces that are aligned already, JPEGs of 200 x 200 pixels."""
        request = service.DetectActionUnitsRequest(
            frames=messages.aligned_frames(crops), model=model, version=version
        )
        return messages.unit_results(self._call(self._stub.DetectActionUnits, request))

    def grade_aligned(
        self, crops: Sequence[bytes], *, model: str = "", version: str = ""
    ) -> SeriesResult:
        """Return the palsy grades of faces that are aligned already, JPEGs of 200 x 200 pixels."""
        request = service.GradePalsyRequest(
            frames=messages.aligned_frames(crops), model=model, version=version
        )
        return messages.series_result(self._call(self._stub.GradePalsy, request))

    def list_models(self) -> list[Model]:
        """Return the models that are served."""
        answer = self._call(self._stub.ListModels, service.ListModelsRequest())
        return messages.models(answer.models)

    def get_model(self, name: str, *, version: str = "") -> Model:
        """Return one served model."""
        request = service.GetModelRequest(model=name, version=version)
        return messages.model(self._call(self._stub.GetModel, request).model)

    def _call(self, method: Callable[..., Any], request: object) -> Any:  # noqa: ANN401
        request_id = new_request_id()
        began = time.monotonic()
        for pause_s in self._retry.pauses():
            try:
                return method(
                    request, timeout=self._timeout_s, metadata=[(REQUEST_ID_KEY, request_id)]
                )
            except grpc.RpcError as error:
                pause_s = max(pause_s, asked_pause_s(error))
                waited_s = time.monotonic() - began + pause_s
                if not is_retried(error) or waited_s > self._retry.total_s:
                    raise translate(error, request_id=request_id) from None
            time.sleep(pause_s)
        raise AssertionError("the pauses never end")
