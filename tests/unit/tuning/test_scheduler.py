"""Why a trial ended, in one sentence."""

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from aufleet.errors import NonFiniteLossError, StoreUnavailableError
from aufleet.tuning.scheduler import explain


def raised_in_a_task(cause: Exception) -> RayTaskError:
    return RayTaskError("step", "Traceback ...", cause)


def test_our_own_errors_are_final_and_keep_their_sentence():
    error = raised_in_a_task(NonFiniteLossError("the loss is NaN at epoch 2, step 7"))
    failure = explain(error)
    assert (failure.reason, failure.is_final) == ("the loss is NaN at epoch 2, step 7", True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (raised_in_a_task(RuntimeError("no memory\nmore")), "RuntimeError: no memory"),
        (raised_in_a_task(ValueError()), "ValueError: no reason given"),
        (ActorDiedError(), "ActorDiedError: The actor died unexpectedly before finishing this"),
        (raised_in_a_task(StoreUnavailableError("no answer", "wait")), "no answer: wait"),
        (None, "the process ended without a word"),
    ],
)
def test_anything_else_is_tried_again(error, reason):
    failure = explain(error)
    assert failure.reason.startswith(reason)
    assert "\n" not in failure.reason
    assert not failure.is_final
    assert not failure.is_lost


def test_a_node_that_is_gone_is_no_crash_of_the_trial():
    context = ActorDiedErrorContext(
        actor_id=bytes(16), error_message="The actor died because its node has died. Node Id: 17"
    )
    for error in (ActorDiedError(context), ActorUnavailableError("connection reset", bytes(16))):
        failure = explain(error)
        assert failure.is_lost
        assert not failure.is_final
        assert failure.reason.endswith("Its node was lost, or cut off.")
