from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FaceSelection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FACE_SELECTION_UNSPECIFIED: _ClassVar[FaceSelection]
    FACE_SELECTION_LARGEST: _ClassVar[FaceSelection]
    FACE_SELECTION_ALL: _ClassVar[FaceSelection]

class FrameStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRAME_STATUS_UNSPECIFIED: _ClassVar[FrameStatus]
    FRAME_STATUS_OK: _ClassVar[FrameStatus]
    FRAME_STATUS_NO_FACE: _ClassVar[FrameStatus]
    FRAME_STATUS_NOT_AN_IMAGE: _ClassVar[FrameStatus]
    FRAME_STATUS_TOO_MANY_PIXELS: _ClassVar[FrameStatus]
    FRAME_STATUS_UNGRADABLE: _ClassVar[FrameStatus]

class UngradableReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNGRADABLE_REASON_UNSPECIFIED: _ClassVar[UngradableReason]
    UNGRADABLE_REASON_POSE: _ClassVar[UngradableReason]
    UNGRADABLE_REASON_BLUR: _ClassVar[UngradableReason]
    UNGRADABLE_REASON_OCCLUSION: _ClassVar[UngradableReason]

class PalsyGrade(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PALSY_GRADE_UNSPECIFIED: _ClassVar[PalsyGrade]
    PALSY_GRADE_NORMAL: _ClassVar[PalsyGrade]
    PALSY_GRADE_LOW: _ClassVar[PalsyGrade]
    PALSY_GRADE_MEDIUM: _ClassVar[PalsyGrade]
    PALSY_GRADE_HIGH: _ClassVar[PalsyGrade]

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    SIDE_NONE: _ClassVar[Side]
    SIDE_PATIENT_LEFT: _ClassVar[Side]
    SIDE_PATIENT_RIGHT: _ClassVar[Side]
FACE_SELECTION_UNSPECIFIED: FaceSelection
FACE_SELECTION_LARGEST: FaceSelection
FACE_SELECTION_ALL: FaceSelection
FRAME_STATUS_UNSPECIFIED: FrameStatus
FRAME_STATUS_OK: FrameStatus
FRAME_STATUS_NO_FACE: FrameStatus
FRAME_STATUS_NOT_AN_IMAGE: FrameStatus
FRAME_STATUS_TOO_MANY_PIXELS: FrameStatus
FRAME_STATUS_UNGRADABLE: FrameStatus
UNGRADABLE_REASON_UNSPECIFIED: UngradableReason
UNGRADABLE_REASON_POSE: UngradableReason
UNGRADABLE_REASON_BLUR: UngradableReason
UNGRADABLE_REASON_OCCLUSION: UngradableReason
PALSY_GRADE_UNSPECIFIED: PalsyGrade
PALSY_GRADE_NORMAL: PalsyGrade
PALSY_GRADE_LOW: PalsyGrade
PALSY_GRADE_MEDIUM: PalsyGrade
PALSY_GRADE_HIGH: PalsyGrade
SIDE_UNSPECIFIED: Side
SIDE_NONE: Side
SIDE_PATIENT_LEFT: Side
SIDE_PATIENT_RIGHT: Side

class Frame(_message.Message):
    __slots__ = ("encoded", "aligned", "id", "mirrored", "faces", "include_ungradable")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    ALIGNED_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    MIRRORED_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_UNGRADABLE_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    aligned: bytes
    id: str
    mirrored: bool
    faces: FaceSelection
    include_ungradable: bool
    def __init__(self, encoded: _Optional[bytes] = ..., aligned: _Optional[bytes] = ..., id: _Optional[str] = ..., mirrored: _Optional[bool] = ..., faces: _Optional[_Union[FaceSelection, str]] = ..., include_ungradable: _Optional[bool] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    width: float
    height: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., width: _Optional[float] = ..., height: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class UnitScore(_message.Message):
    __slots__ = ("unit", "probability", "threshold", "active")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    unit: int
    probability: float
    threshold: float
    active: bool
    def __init__(self, unit: _Optional[int] = ..., probability: _Optional[float] = ..., threshold: _Optional[float] = ..., active: _Optional[bool] = ...) -> None: ...

class GradeProbabilities(_message.Message):
    __slots__ = ("normal", "low", "medium", "high")
    NORMAL_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    normal: float
    low: float
    medium: float
    high: float
    def __init__(self, normal: _Optional[float] = ..., low: _Optional[float] = ..., medium: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class RegionValue(_message.Message):
    __slots__ = ("region", "impairment")
    REGION_FIELD_NUMBER: _ClassVar[int]
    IMPAIRMENT_FIELD_NUMBER: _ClassVar[int]
    region: str
    impairment: float
    def __init__(self, region: _Optional[str] = ..., impairment: _Optional[float] = ...) -> None: ...

class PalsyResult(_message.Message):
    __slots__ = ("grade", "probabilities", "house_brackmann_min", "house_brackmann_max", "side", "regions")
    GRADE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    HOUSE_BRACKMANN_MIN_FIELD_NUMBER: _ClassVar[int]
    HOUSE_BRACKMANN_MAX_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    grade: PalsyGrade
    probabilities: GradeProbabilities
    house_brackmann_min: int
    house_brackmann_max: int
    side: Side
    regions: _containers.RepeatedCompositeFieldContainer[RegionValue]
    def __init__(self, grade: _Optional[_Union[PalsyGrade, str]] = ..., probabilities: _Optional[_Union[GradeProbabilities, _Mapping]] = ..., house_brackmann_min: _Optional[int] = ..., house_brackmann_max: _Optional[int] = ..., side: _Optional[_Union[Side, str]] = ..., regions: _Optional[_Iterable[_Union[RegionValue, _Mapping]]] = ...) -> None: ...

class Face(_message.Message):
    __slots__ = ("box", "landmarks", "units", "palsy", "attention_png", "ungradable_reason")
    BOX_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    PALSY_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_PNG_FIELD_NUMBER: _ClassVar[int]
    UNGRADABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    box: Box
    landmarks: _containers.RepeatedCompositeFieldContainer[Point]
    units: _containers.RepeatedCompositeFieldContainer[UnitScore]
    palsy: PalsyResult
    attention_png: bytes
    ungradable_reason: UngradableReason
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., landmarks: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., units: _Optional[_Iterable[_Union[UnitScore, _Mapping]]] = ..., palsy: _Optional[_Union[PalsyResult, _Mapping]] = ..., attention_png: _Optional[bytes] = ..., ungradable_reason: _Optional[_Union[UngradableReason, str]] = ...) -> None: ...

class FrameResult(_message.Message):
    __slots__ = ("id", "status", "ungradable_reason", "faces", "message")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    UNGRADABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: FrameStatus
    ungradable_reason: UngradableReason
    faces: _containers.RepeatedCompositeFieldContainer[Face]
    message: str
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[FrameStatus, str]] = ..., ungradable_reason: _Optional[_Union[UngradableReason, str]] = ..., faces: _Optional[_Iterable[_Union[Face, _Mapping]]] = ..., message: _Optional[str] = ...) -> None: ...
