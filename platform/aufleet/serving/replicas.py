"""Calls from the gateway to the replicas of another deployment.

The values that travel are pickled by Ray between processes of ours, behind Ray's token; what a
client sent travels inside them as plain bytes or arrays.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    RequestCancelledError,
)

from aufleet.errors import NotReadyError, OverloadedError
from aufleet.serving.call import heard

ASSIGNED_S = 5.0
"""A call that lies at no replica after this time is given up."""
_NOBODY = ("no replica can answer just now", "try again in a moment")


class Response(Awaitable[Any], Protocol):
    """An answer under way."""

    def cancel(self) -> object:
        """Drop it, here and in the replica."""
        ...


class _Patience:
    """Gives a call up that no replica has taken within the time: all of them are away.

    Ray's router would hold it until one is back, and its caller with it.
    """

    def __init__(self, response: Response) -> None:
        self.is_over, self._response = False, response
        # Only Ray's responses have it: done once the call lies at a replica.
        self._assigned: asyncio.Future[Any] | None = getattr(
            response, "_replica_result_future", None
        )
        self._timer = (
            asyncio.get_running_loop().call_later(ASSIGNED_S, self._look)
            if self._assigned is not None
            else None
        )

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._assigned is not None and not self._assigned.done():
            self.is_over = True
            self._response.cancel()


async def answer_of(response: Response) -> Any:  # noqa: ANN401 - what the method returns
    """Wait for a replica's answer; a caller that is cancelled drops the work there, too.

    Raises:
        OverloadedError: The deployment's queue is full.
        NotReadyError: No replica, or it ended while it worked.
        Exception: What the replica raised, as it raised it.
    """
    patience = _Patience(response)
    try:
        answer = await response
    except asyncio.CancelledError:
        if patience.is_over:
            raise NotReadyError(*_NOBODY) from None
        response.cancel()
        raise
    except BackPressureError as error:
        raise OverloadedError("too many requests are waiting", "try again in a moment") from error
    except (RayActorError, DeploymentUnavailableError, RequestCancelledError) as error:
        raise NotReadyError(*_NOBODY) from error
    except RayTaskError as error:
        # The original says which error it is, Ray's says where it happened: both for the log.
        cause = error.cause
        raise (cause if isinstance(cause, Exception) else error) from error
    except RayServeException as error:
        raise NotReadyError("the service is changing", "try again in a moment") from error
    finally:
        patience.end()
    heard(answer)
    return answer
