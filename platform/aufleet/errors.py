"""Every error that aufleet raises on purpose.

    AufleetError
    ├── ConfigError              a setting is wrong: nothing was started
    ├── StoreError               the object store refused, failed or is away
    │   ├── StoreCredentialsError    wrong or missing credentials
    │   ├── StoreUnavailableError    no answer within the deadline
    │   ├── ObjectMissingError       a named object is not there
    │   ├── ObjectCorruptError       bytes do not match their digest
    │   └── AlreadyExistsError       a write-once object is already there
    ├── DataError                a data set, a frame or a label cannot be used
    │   ├── FrameError               bytes that are not a usable picture
    │   └── FaceError                a face that cannot be aligned
    ├── TrainingError            a trial ended without a result
    │   └── NonFiniteLossError       the loss is NaN or infinite
    ├── RegistryError            a model package or a version cannot be used
    │   ├── ModelNotFoundError       no such model, version or alias
    │   └── PackageError             a package is damaged or of an unknown schema
    ├── RequestError             a caller's request cannot be answered
    │   ├── InvalidRequestError      a field of the request is wrong
    │   ├── WrongTaskError           the model serves another task
    │   ├── UnauthenticatedError     no token, or one that is not known
    │   ├── ForbiddenError           a token without the scope
    │   ├── OverloadedError          a queue is full or a rate is exceeded
    │   ├── DeadlineError            the answer would come too late
    │   └── NotReadyError            nobody can answer yet, or just now
    └── EnvironmentProblem       this machine lacks something: a library, a port

Each says what is wrong, where, and what to do. The parts of the sentence are the constructor's
arguments, so that an error keeps its text when it is pickled between Ray processes.
`aufleet.serving.status` maps each class to one gRPC code.
"""


class AufleetError(Exception):
    """The root: `str()` of it is one sentence that can be shown to a person.

    Args:
        what: What is wrong, and where.
        remedy: What to do about it; empty where nothing can be done.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.what}: {self.remedy}" if self.remedy else self.what


class ConfigError(AufleetError):
    """A setting is wrong; nothing was started."""


class StoreError(AufleetError):
    """The object store refused, failed or is away."""


class StoreCredentialsError(StoreError):
    """The store does not accept the credentials."""


class StoreUnavailableError(StoreError):
    """The store gave no answer within the deadline."""


class ObjectMissingError(StoreError):
    """A named object is not in the store."""


class ObjectCorruptError(StoreError):
    """An object's bytes do not match their digest."""


class AlreadyExistsError(StoreError):
    """A write-once object is already there; another writer won."""


class DataError(AufleetError):
    """A data set, a frame or a label cannot be used."""


class FrameError(DataError):
    """Bytes that are not a usable picture."""


class FaceError(DataError):
    """A face that cannot be aligned."""


class TrainingError(AufleetError):
    """A trial ended without a result."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite."""


class RegistryError(AufleetError):
    """A model package or a version cannot be used."""


class ModelNotFoundError(RegistryError):
    """No such model, version or alias."""


class PackageError(RegistryError):
    """A model package is damaged, incomplete or of an unknown schema."""


class RequestError(AufleetError):
    """A caller's request cannot be answered."""


class InvalidRequestError(RequestError):
    """A field of the request is wrong."""


class WrongTaskError(RequestError):
    """The named model serves another task."""


class UnauthenticatedError(RequestError):
    """No token, or one that is not known."""


class ForbiddenError(RequestError):
    """A token that lacks the scope."""


class OverloadedError(RequestError):
    """A queue is full or a rate is exceeded; trying again later helps."""


class DeadlineError(RequestError):
    """The caller's deadline passed; the work was dropped."""


class NotReadyError(RequestError):
    """Nobody can answer yet, or just now; trying again later helps."""


class EnvironmentProblem(AufleetError):
    """This machine lacks something that a verb needs."""
