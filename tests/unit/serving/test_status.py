import pickle

import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from aufleet import errors
from aufleet.serving.status import CODES, DETAILS_KEY, RETRY_DELAY_MS, code_of, failure_of

ALL_ERRORS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.AufleetError)
]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_has_a_code_and_survives_a_process_border(kind):
    error = pickle.loads(pickle.dumps(kind("the thing is wrong", "mend it")))
    assert str(error) == "the thing is wrong: mend it"
    assert isinstance(code_of(error), StatusCode)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InvalidRequestError, StatusCode.INVALID_ARGUMENT),
        (errors.FrameError, StatusCode.INVALID_ARGUMENT),
        (errors.ModelNotFoundError, StatusCode.NOT_FOUND),
        (errors.WrongTaskError, StatusCode.FAILED_PRECONDITION),
        (errors.UnauthenticatedError, StatusCode.UNAUTHENTICATED),
        (errors.ForbiddenError, StatusCode.PERMISSION_DENIED),
        (errors.OverloadedError, StatusCode.RESOURCE_EXHAUSTED),
        (errors.DeadlineError, StatusCode.DEADLINE_EXCEEDED),
        (errors.NotReadyError, StatusCode.UNAVAILABLE),
        (errors.StoreUnavailableError, StatusCode.UNAVAILABLE),
        (errors.PackageError, StatusCode.INTERNAL),
        (errors.StoreCredentialsError, StatusCode.INTERNAL),
    ],
)
def test_errors_become_the_codes_of_the_contract(kind, code):
    assert code_of(kind("x")) is code


def test_the_callers_mistakes_are_explained():
    failure = failure_of(errors.InvalidRequestError("frames: none", "send one"), request_id="r1")
    assert failure.message == "frames: none: send one"


@pytest.mark.parametrize(
    "error", [ValueError("/secret/path"), errors.PackageError("/secret/path is damaged")]
)
def test_our_own_faults_say_only_the_request_id(error):
    failure = failure_of(error, request_id="r1")
    assert failure.code is StatusCode.INTERNAL
    assert failure.message == "internal error, request id r1"
    assert failure.metadata == ()


def test_a_full_queue_says_when_to_come_again():
    failure = failure_of(errors.OverloadedError("full"), request_id="r1")
    sent = dict(failure.metadata)
    status = Status.FromString(sent[DETAILS_KEY])
    assert status.code == StatusCode.RESOURCE_EXHAUSTED.value[0]
    retry, detail = RetryInfo(), Any()
    detail.CopyFrom(status.details[0])
    assert detail.Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == RETRY_DELAY_MS


def test_the_table_names_only_our_errors():
    assert set(CODES) <= set(ALL_ERRORS)
