"""`Client`: blocking calls."""

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
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
from aufleet.client.streaming import stream_results
from aufleet.client.video import Video, progress_of


class Client:
    """Asks a gateway about pictures. Thread-safe; close it or use it as a context manager.

    Args:
        target: "host:port" of the gateway; several with commas between share the calls, and one
            that cannot be reached costs none of them.
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
        self._channels, self._pool = open_pool(
            target, token, root_certificates, connect=grpc.secure_channel
        )

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; open calls are cancelled."""
        for channel in self._channels:
            channel.close()

    def detect_action_units(  # noqa: PLR0913 - each is one wish of a caller
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

        Args:
            image: Bytes of a JPEG or PNG, or the path of a file.
            model: Its name; may be empty where the service has one model for the task.
            version: A version or an alias; empty for the champion.
            mirrored: The picture is a mirror image (a selfie): sides are swapped back.
            all_faces: Not the largest face alone.
            include_attention: Adds a picture of where the network looked to each face.
            include_ungradable: Answers for a face that must not be judged, too.
        """
        wishes = Wishes(
            mirrored=mirrored,
            all_faces=all_faces,
            include_attention=include_attention,
            include_ungradable=include_ungradable,
        )
        request = messages.units_request(image, wishes, model=model, version=version)
        return messages.first_result(self._call("DetectActionUnits", request))

    def grade_palsy(  # noqa: PLR0913 - each is one wish of a caller
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

        Args:
            image: Bytes of a JPEG or PNG, or the path of a file.
            model: Its name; may be empty where the service has one model for the task.
            version: A version or an alias; empty for the champion.
            mirrored: The picture is a mirror image (a selfie): sides are swapped back.
            all_faces: Not the largest face alone.
            include_attention: Adds a picture of where the network looked to each face.
            include_ungradable: Answers for a face that must not be judged, too.
        """
        wishes = Wishes(
            mirrored=mirrored,
            all_faces=all_faces,
            include_attention=include_attention,
            include_ungradable=include_ungradable,
        )
        request = messages.palsy_request([image], wishes, model=model, version=version)
        return messages.first_result(self._call("GradePalsy", request))

    def grade_palsy_series(
        self, images: Sequence[Image], *, model: str = "", version: str = ""
    ) -> SeriesResult:
        """Return the grade of each of several pictures of one patient, and of all together."""
        request = messages.palsy_request(images, Wishes(), model=model, version=version)
        return messages.series_result(self._call("GradePalsy", request))

    def detect_in_aligned(
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
        return messages.unit_results(self._call("DetectActionUnits", request))

    def grade_aligned(
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
        return messages.series_result(self._call("GradePalsy", request))

    def analyze_stream(  # noqa: PLR0913 - each is one wish of a caller
        self,
        frames: Iterable[tuple[float, bytes]],
        *,
        model: str = "",
        version: str = "",
        smoothing_time_s: float = 0.0,
        mirrored: bool = False,
        all_faces: bool = False,
        include_attention: bool = False,
    ) -> Generator[FrameResult, None, None]:
        """Yield the result of each frame of a camera or video, in order and each once.

        Frames are read as answers come, a few ahead. A lost connection is taken up again where it
        broke off, for as long as the retry policy says after the last answer.

        Args:
            frames: Time in seconds and a JPEG or PNG of each; times do not go back.
            model: Its name; may be empty where the service has one model.
            version: A version or an alias; empty for the champion.
            smoothing_time_s: Time constant with which probabilities are smoothed; 0 for none.
            mirrored: The pictures are mirror images: sides are swapped back.
            all_faces: Not the largest face alone.
            include_attention: Adds a picture of where the network looked to each face.
        """
        wishes = Wishes(mirrored=mirrored, all_faces=all_faces, include_attention=include_attention)
        source = (SentFrame(time_s=time_s, encoded=encoded) for time_s, encoded in frames)
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

    def analyze_video(  # noqa: PLR0913 - each is one wish of a caller
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
    ) -> Generator[FrameResult, None, None]:
        """Yield the result of each frame of a video file, in order; `time_s` says when it is.

        Needs OpenCV, and rich for the bar: pip install 'aufleet[video]'.

        Args:
            path: Of the file; or the file's bytes.
            model: Its name; may be empty where the service has one model.
            version: A version or an alias; empty for the champion.
            smoothing_time_s: Time constant with which probabilities are smoothed; 0 for none.
            max_rate_hz: Frames that come sooner after the last one are left out.
            mirrored: The video is a mirror image: sides are swapped back.
            include_attention: Adds a picture of where the network looked to each face.
            progress: Show a bar on standard error.

        Raises:
            ConfigError: The file, or a library, is missing or cannot be used.
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
        with progress_of(video, shown=progress) as advance, closing(results):
            for result in results:
                advance()
                yield result

    def list_models(self) -> list[Model]:
        """Return the models that are served."""
        answer = self._call("ListModels", service.ListModelsRequest())
        return messages.models(answer.models)

    def get_model(self, name: str, *, version: str = "") -> Model:
        """Return one served model."""
        request = service.GetModelRequest(model=name, version=version)
        return messages.model(self._call("GetModel", request).model)

    def _call(self, method: str, request: object) -> Any:  # noqa: ANN401 - its response
        request_id, began = new_request_id(), time.monotonic()
        for pause_s in self._retry.pauses():
            gateway = self._pool.next()
            try:
                answer = getattr(gateway.stub, method)(
                    request, timeout=self._timeout_s, metadata=[(REQUEST_ID_KEY, request_id)]
                )
                self._pool.answered(gateway)
                return answer
            except grpc.RpcError as error:
                pause_s = self._pool.pause_after(error, gateway, pause_s=pause_s)
                waited_s = time.monotonic() - began + pause_s
                if not is_retried(error) or waited_s > self._retry.total_s:
                    raise translate(error, request_id=request_id) from None
            time.sleep(pause_s)
        raise AssertionError("the pauses never end")
