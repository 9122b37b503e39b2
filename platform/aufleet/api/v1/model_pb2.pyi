from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_ACTION_UNITS: _ClassVar[Task]
    TASK_PALSY: _ClassVar[Task]
TASK_UNSPECIFIED: Task
TASK_ACTION_UNITS: Task
TASK_PALSY: Task

class Model(_message.Message):
    __slots__ = ("name", "version", "aliases", "task", "architecture", "units", "digest", "ready", "has_side", "has_regions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    HAS_SIDE_FIELD_NUMBER: _ClassVar[int]
    HAS_REGIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    task: Task
    architecture: str
    units: _containers.RepeatedScalarFieldContainer[int]
    digest: str
    ready: bool
    has_side: bool
    has_regions: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., task: _Optional[_Union[Task, str]] = ..., architecture: _Optional[str] = ..., units: _Optional[_Iterable[int]] = ..., digest: _Optional[str] = ..., ready: _Optional[bool] = ..., has_side: _Optional[bool] = ..., has_regions: _Optional[bool] = ...) -> None: ...
