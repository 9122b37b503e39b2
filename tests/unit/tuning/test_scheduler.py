"""Why a trial ended, in one sentence."""

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from aufleet.errors import NonFiniteLossError, StoreUnavailableError
from aufleet.tuning.scheduler import explain


def raised_in_a_task(cause: Exception) -> RayTaskError:
    return RayTaskError("step", "Traceback ...", cause)


def test_our_own_errors_are_final_and_keep_their_sentence():
    error = raised_in_a_task(NonFiniteLossError("the loss is NaN at epoch 2, step 7"))
    assert explain(error) == ("the loss is NaN at epoch 2, step 7", True)


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
    found, final = explain(error)
    assert found.startswith(reason)
    assert "\n" not in found
    assert not final
