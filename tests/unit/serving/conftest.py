"""The gateway's services without Ray: a real gRPC server, replicas in the same loop."""

import asyncio
import json
from contextlib import asynccontextmanager

import cv2
import grpc
import numpy as np
import pytest

from aufleet.api.v1.face_analysis_service_pb2_grpc import (
    FaceAnalysisServiceStub,
    add_FaceAnalysisServiceServicer_to_server,
)
from aufleet.inference.v2.open_inference_pb2_grpc import (
    GRPCInferenceServiceStub,
    add_GRPCInferenceServiceServicer_to_server,
)
from aufleet.serving.access_log import AccessLog
from aufleet.serving.config import Limits
from aufleet.serving.directory import Directory, HealthServicer
from aufleet.serving.exchange import (
    LocatedFace,
    LocatedFaces,
    ModelFacts,
    NetworkAnswers,
    Ungradable,
)
from aufleet.serving.face_service import FaceAnalysisService
from aufleet.serving.guard import SCOPES_OF_METHODS, Guard
from aufleet.serving.inference_service import InferenceService
from aufleet.serving.metrics import Metrics
from aufleet.serving.pipeline import Pipeline
from aufleet.serving.routing import Route
from aufleet.serving.tokens import SCOPES, Doorkeeper, TokenFile

UNITS, THRESHOLDS = (1, 12), (0.5, 0.7)
NETWORK_POINT = (100.0, 90.0)
"""Where the plain network sees every landmark, in pixels of the aligned frame."""
SHIFT = np.array([[2.0, 0.0, 10.0], [0.0, 2.0, 20.0]])
"""The plain aligner's map from frame to aligned frame: x' = 2x + 10, y' = 2y + 20."""


TURNED = Ungradable(reason="pose", message="the head is turned too far")
"""What the plain aligner says of the faces whose numbers are in `ungradable`."""


class Method:
    """What a handle's method looks like: `remote` starts the call."""

    def __init__(self, work):
        self.work = work

    def remote(self, *args, **kwargs):
        return asyncio.ensure_future(self.work(*args, **kwargs))


class PlainReplicas:
    """Aligner and analyzer in one; `faces` says how many faces each photo holds."""

    def __init__(  # noqa: PLR0913
        self,
        task="au",
        *,
        faces=1,
        landmarks=True,
        error=None,
        delay_s=0.0,
        ungradable=(),
        regions=False,
    ):
        self.ungradable, self.regions = ungradable, regions
        self.task, self.faces, self.with_landmarks = task, faces, landmarks
        self.error, self.delay_s, self.cancelled = error, delay_s, 0
        self.locate, self.describe = Method(self._locate), Method(self._describe)
        self.analyze, self.analyze_encoded = Method(self._analyze), Method(self._analyze_encoded)

    async def _locate(self, encoded, *, every_face, timeout_s):
        count = self.faces if every_face else min(self.faces, 1)
        faces = tuple(
            LocatedFace(
                box=(1.0, 2.0, 30.0, 40.0),
                landmarks=np.full((49, 2), 5.0, np.float32),
                aligned=np.zeros((200, 200, 3), np.uint8),
                to_aligned=SHIFT,
                ungradable=TURNED if number in self.ungradable else None,
            )
            for number in range(count)
        )
        return LocatedFaces(faces=faces, timings_ms={"decode": 1.0})

    async def _describe(self):
        units = UNITS if self.task == "au" else ()
        return ModelFacts(
            task=self.task,
            architecture="plain",
            weights_sha256="0" * 64,
            units=units,
            thresholds=THRESHOLDS[: len(units)],
            frame_size=176,
            has_side=self.task == "palsy",
            has_regions=self.regions,
        )

    async def _analyze(self, faces, *, attention, timeout_s, turn=""):
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        count = len(faces)
        row = [0.6, 0.6] if self.task == "au" else [0.1, 0.2, 0.6, 0.1]
        point = np.broadcast_to(np.float32(NETWORK_POINT), (count, 49, 2))
        return NetworkAnswers(
            probabilities=np.tile(np.float32(row), (count, 1)),
            landmarks=point if self.with_landmarks else None,
            side=np.tile(np.float32([0.1, 0.8, 0.1]), (count, 1)) if self.task == "palsy" else None,
            regions=np.tile(np.float32(np.arange(12) / 12), (count, 1)) if self.regions else None,
            attention_png=(b"png",) * count if attention else None,
            network_ms=2.0,
        )

    async def _analyze_encoded(self, encoded, *, attention, timeout_s, turn=""):
        return await self._analyze([encoded], attention=attention, timeout_s=timeout_s)


class Edge:
    """A running gateway and what a caller needs."""

    def __init__(self, channel, *, token, directory, log_file, guard):
        self.faces = FaceAnalysisServiceStub(channel)
        self.inference = GRPCInferenceServiceStub(channel)
        self.channel, self.token, self.directory = channel, token, directory
        self.guard = guard
        self._log_file = log_file

    @property
    def metadata(self):
        return (("authorization", f"Bearer {self.token}"), ("x-request-id", "test-1"))

    @property
    def log(self):
        return [json.loads(line) for line in self._log_file.read_text().splitlines()]


@pytest.fixture
def open_edge(tmp_path):
    """Return a context manager that runs the gateway's services with the given replicas."""

    @asynccontextmanager
    async def edge(replicas=None, *, models=None, limits=None):
        limits = limits or Limits()
        models = models or {"faces": replicas or PlainReplicas()}
        tokens = TokenFile(tmp_path / "tokens.json")
        token = tokens.create("caller", scopes=SCOPES, expires_days=1)
        log_file = tmp_path / "access.log"
        log = AccessLog(log_file)
        metrics = Metrics(methods=SCOPES_OF_METHODS)
        guard = Guard(Doorkeeper(tmp_path / "tokens.json"), limits=limits, log=log, metrics=metrics)
        server = grpc.aio.server(
            interceptors=[guard], options=[("grpc.max_metadata_size", 1 << 16)]
        )
        directory = Directory(models.__getitem__, health=HealthServicer(), retry_s=0.01)
        pipeline = Pipeline(next(iter(models.values())), limits=limits)
        add_FaceAnalysisServiceServicer_to_server(
            FaceAnalysisService(directory, pipeline=pipeline), server
        )
        add_GRPCInferenceServiceServicer_to_server(
            InferenceService(directory, pipeline=pipeline, limits=limits), server
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await directory.replace(
            Route(name=name, version="1", aliases=(), task=each.task, application=name)
            for name, each in models.items()
        )
        await directory.await_ready()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                edge = Edge(
                    channel, token=token, directory=directory, log_file=log_file, guard=guard
                )
                edge.tokens, edge.metrics = tokens, metrics
                edge.target = f"127.0.0.1:{port}"
                yield edge
        finally:
            directory.close()
            await server.stop(None)
            log.close()

    return edge


def encode(height=60, width=80, kind=".png"):
    return cv2.imencode(kind, np.full((height, width, 3), 90, np.uint8))[1].tobytes()
