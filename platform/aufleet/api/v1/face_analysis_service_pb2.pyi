from aufleet.api.v1 import face_pb2 as _face_pb2
from aufleet.api.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DetectActionUnitsRequest(_message.Message):
    __slots__ = ("frames", "model", "version", "units", "include_attention")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTENTION_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_face_pb2.Frame]
    model: str
    version: str
    units: _containers.RepeatedScalarFieldContainer[int]
    include_attention: bool
    def __init__(self, frames: _Optional[_Iterable[_Union[_face_pb2.Frame, _Mapping]]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., units: _Optional[_Iterable[int]] = ..., include_attention: _Optional[bool] = ...) -> None: ...

class DetectActionUnitsResponse(_message.Message):
    __slots__ = ("frames", "model", "version", "request_id", "timings_ms", "research_use_only")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESEARCH_USE_ONLY_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_face_pb2.FrameResult]
    model: str
    version: str
    request_id: str
    timings_ms: _containers.ScalarMap[str, float]
    research_use_only: bool
    def __init__(self, frames: _Optional[_Iterable[_Union[_face_pb2.FrameResult, _Mapping]]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., request_id: _Optional[str] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., research_use_only: _Optional[bool] = ...) -> None: ...

class GradePalsyRequest(_message.Message):
    __slots__ = ("frames", "model", "version", "include_attention")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTENTION_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_face_pb2.Frame]
    model: str
    version: str
    include_attention: bool
    def __init__(self, frames: _Optional[_Iterable[_Union[_face_pb2.Frame, _Mapping]]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., include_attention: _Optional[bool] = ...) -> None: ...

class GradePalsyResponse(_message.Message):
    __slots__ = ("frames", "model", "version", "request_id", "timings_ms", "research_use_only", "pooled", "num_frames_used")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESEARCH_USE_ONLY_FIELD_NUMBER: _ClassVar[int]
    POOLED_FIELD_NUMBER: _ClassVar[int]
    NUM_FRAMES_USED_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_face_pb2.FrameResult]
    model: str
    version: str
    request_id: str
    timings_ms: _containers.ScalarMap[str, float]
    research_use_only: bool
    pooled: _face_pb2.PalsyResult
    num_frames_used: int
    def __init__(self, frames: _Optional[_Iterable[_Union[_face_pb2.FrameResult, _Mapping]]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., request_id: _Optional[str] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., research_use_only: _Optional[bool] = ..., pooled: _Optional[_Union[_face_pb2.PalsyResult, _Mapping]] = ..., num_frames_used: _Optional[int] = ...) -> None: ...

class AnalyzeStreamRequest(_message.Message):
    __slots__ = ("config", "frame")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    config: StreamConfig
    frame: StreamFrame
    def __init__(self, config: _Optional[_Union[StreamConfig, _Mapping]] = ..., frame: _Optional[_Union[StreamFrame, _Mapping]] = ...) -> None: ...

class StreamConfig(_message.Message):
    __slots__ = ("model", "version", "smoothing_time_s", "include_attention")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SMOOTHING_TIME_S_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ATTENTION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    smoothing_time_s: float
    include_attention: bool
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., smoothing_time_s: _Optional[float] = ..., include_attention: _Optional[bool] = ...) -> None: ...

class StreamFrame(_message.Message):
    __slots__ = ("frame", "time_s")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    frame: _face_pb2.Frame
    time_s: float
    def __init__(self, frame: _Optional[_Union[_face_pb2.Frame, _Mapping]] = ..., time_s: _Optional[float] = ...) -> None: ...

class AnalyzeStreamResponse(_message.Message):
    __slots__ = ("frame", "model", "version", "request_id", "timings_ms", "research_use_only", "time_s")
    class TimingsMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    FRAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESEARCH_USE_ONLY_FIELD_NUMBER: _ClassVar[int]
    TIME_S_FIELD_NUMBER: _ClassVar[int]
    frame: _face_pb2.FrameResult
    model: str
    version: str
    request_id: str
    timings_ms: _containers.ScalarMap[str, float]
    research_use_only: bool
    time_s: float
    def __init__(self, frame: _Optional[_Union[_face_pb2.FrameResult, _Mapping]] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., request_id: _Optional[str] = ..., timings_ms: _Optional[_Mapping[str, float]] = ..., research_use_only: _Optional[bool] = ..., time_s: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: _model_pb2.Task
    def __init__(self, task: _Optional[_Union[_model_pb2.Task, str]] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "request_id", "research_use_only")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESEARCH_USE_ONLY_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[_model_pb2.Model]
    request_id: str
    research_use_only: bool
    def __init__(self, models: _Optional[_Iterable[_Union[_model_pb2.Model, _Mapping]]] = ..., request_id: _Optional[str] = ..., research_use_only: _Optional[bool] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "request_id", "research_use_only")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESEARCH_USE_ONLY_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.Model
    request_id: str
    research_use_only: bool
    def __init__(self, model: _Optional[_Union[_model_pb2.Model, _Mapping]] = ..., request_id: _Optional[str] = ..., research_use_only: _Optional[bool] = ...) -> None: ...
