"""`AsyncClient`: the same calls for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import grpc

from aufleet.api.v1 import face_analysis_service_pb2 as service
from aufleet.client import messages
from aufleet.client.connection import REQUEST_ID_KEY, new_request_id, open_pool
from aufleet.client.errors import translate
from aufleet.client.frames import FrameBuffer, SentFrame
from aufleet.client.messages import Image, Wishes
from aufleet.client.results import FrameResult, Model, SeriesResult
from aufleet.client.retry import RetryPolicy, is_retried
from aufleet.client.stream_attempts import StreamAttempts, config_request
from aufleet.client.streaming_async import blocking, stream_results
from aufleet.client.video import Video, progress_of


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
        self._channels, self._pool = open_pool(
            target, token, root_certificates, connect=grpc.aio.secure_channel
        )

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; open calls are cancelled."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def detect_action_units(  # noqa: PLR0913 - each is one wish of a caller
        self,
        image: Image,
        *,
        model: str = "",
        version: str = "",
        mirrored: bool = False,
        all_faces: bool = False,
        include_attention: bool = False,
        include_ungradable: bool = False,
    ) -> FrameResult:
        """Return the action units of a picture.

        Arguments and errors are those of `Client.detect_action_units`.
        """
        wishes = Wishes(
            mirrored=mirrored,
            all_faces=all_faces,
            include_attention=include_attention,
            include_ungradable=include_ungradable,
        )
        request = messages.units_request(image, wishes, model=model, version=version)
        return messages.first_result(await self._call("DetectActionUnits", request))

    async def grade_palsy(  # noqa: PLR0913 - each is one wish of a caller
        self,
        image: Image,
        *,
        model: str = "",
        version: str = "",
        mirrored: bool = False,
        all_faces: bool = False,
        include_attention: bool = False,
        include_ungradable: bool = False,
    ) -> FrameResult:
        """Return the palsy grade of a picture.

        Arguments and errors are those of `Client.grade_palsy`.
        """
        wishes = Wishes(
            mirrored=mirrored,
            all_faces=all_faces,
            include_attention=include_attention,
            include_ungradable=include_ungradable,
        )
        request = messages.palsy_request([image], wishes, model=model, version=version)
        return messages.first_result(await self._call("GradePalsy", request))

    async def grade_palsy_series(
        self, images: Sequence[Image], *, model: str = "", version: str = ""
    ) -> SeriesResult:
        """Return the grade of each of several pictures of one patient, and of all together."""
        request = messages.palsy_request(images, Wishes(), model=model, version=version)
        return messages.series_result(await self._call("GradePalsy", request))

    async def detect_in_aligned(
        self,
        crops: Sequence[bytes],
        *,
        model: str = "",
        version: str = "",
        include_ungradable: bool = False,
    ) -> list[FrameResult]:
        """Return the action units of faces that are aligned already, JPEGs of 200 x 200 pixels."""
        request = service.DetectActionUnitsRequest(
            frames=messages.aligned_frames(crops, include_ungradable=include_ungradable),
            model=model,
            version=version,
        )
        return messages.unit_results(await self._call("DetectActionUnits", request))

    async def grade_aligned(
        self,
        crops: Sequence[bytes],
        *,
        model: str = "",
        version: str = "",
        include_ungradable: bool = False,
    ) -> SeriesResult:
        """Return the palsy grades of faces that are aligned already, JPEGs of 200 x 200 pixels."""
        request = service.GradePalsyRequest(
            frames=messages.aligned_frames(crops, include_ungradable=include_ungradable),
            model=model,
            version=version,
        )
        return messages.series_result(await self._call("GradePalsy", request))

    def analyze_stream(  # noqa: PLR0913 - each is one wish of a caller
        self,
        frames: "Iterable[tuple[float, bytes]] | AsyncIterable[tuple[float, bytes]]",
        *,
        model: str = "",
        version: str = "",
        smoothing_time_s: float = 0.0,
        mirrored: bool = False,
        all_faces: bool = False,
        include_attention: bool = False,
    ) -> AsyncGenerator[FrameResult, None]:
        """Yield the result of each frame of a camera or video, in order and each once.

        Frames are read as answers come, a few ahead. A lost connection is taken up again where it
        broke off, for as long as the retry policy says after the last answer.

        Arguments and errors are those of `Client.analyze_stream`.
        """
        wishes = Wishes(mirrored=mirrored, all_faces=all_faces, include_attention=include_attention)
        source = (SentFrame(time_s=time_s, encoded=encoded) for time_s, encoded in blocking(frames))
        buffer = FrameBuffer(source, smoothing_time_s=smoothing_time_s)
        return stream_results(
            self._pool,
            buffer,
            StreamAttempts(buffer, retry=self._retry, request_id=new_request_id()),
            config=config_request(
                wishes, model=model, version=version, smoothing_time_s=smoothing_time_s
            ),
            wishes=wishes,
        )

    async def analyze_video(  # noqa: PLR0913 - each is one wish of a caller
        self,
        path: str | Path | bytes,
        *,
        model: str = "",
        version: str = "",
        smoothing_time_s: float = 0.0,
        max_rate_hz: float | None = None,
        mirrored: bool = False,
        include_attention: bool = False,
        progress: bool = False,
    ) -> AsyncGenerator[FrameResult, None]:
        """Yield the result of each frame of a video file, in order; `time_s` says when it is.

        Needs OpenCV, and rich for the bar: pip install 'aufleet[video]'.

        Arguments and errors are those of `Client.analyze_video`.
        """
        video = Video(path, max_rate_hz=max_rate_hz)
        results = self.analyze_stream(
            ((frame.time_s, frame.encoded) for frame in video.frames()),
            model=model,
            version=version,
            smoothing_time_s=smoothing_time_s,
            mirrored=mirrored,
            include_attention=include_attention,
        )
        with progress_of(video, shown=progress) as advance:
            async with aclosing(results):
                async for result in results:
                    advance()
                    yield result

    async def list_models(self) -> list[Model]:
        """Return the models that are served."""
        answer = await self._call("ListModels", service.ListModelsRequest())
        return messages.models(answer.models)

    async def get_model(self, name: str, *, version: str = "") -> Model:
        """Return one served model."""
        request = service.GetModelRequest(model=name, version=version)
        return messages.model((await self._call("GetModel", request)).model)

    async def _call(self, method: str, request: object) -> Any:  # noqa: ANN401 - its response
        request_id, began = new_request_id(), time.monotonic()
        for pause_s in self._retry.pauses():
            gateway = self._pool.next()
            try:
                answer = await getattr(gateway.stub, method)(
                    request, timeout=self._timeout_s, metadata=[(REQUEST_ID_KEY, request_id)]
                )
                self._pool.answered(gateway)
                return answer
            except grpc.RpcError as error:
                pause_s = self._pool.pause_after(error, gateway, pause_s=pause_s)
                waited_s = time.monotonic() - began + pause_s
                if not is_retried(error) or waited_s > self._retry.total_s:
                    raise translate(error, request_id=request_id) from None
            await asyncio.sleep(pause_s)
        raise AssertionError("the pauses never end")
