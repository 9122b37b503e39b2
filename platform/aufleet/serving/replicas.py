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


class Response(Awaitable[Any], Protocol):
    """An answer under way."""

    def cancel(self) -> object:
        """Drop it, here and in the replica."""
        ...


async def answer_of(response: Response) -> Any:  # noqa: ANN401 - what the method returns
    """Wait for a replica's answer; a caller that is cancelled drops the work there, too.

    Raises:
        OverloadedError: The deployment's queue is full.
        NotReadyError: No replica, or it ended while it worked.
        Exception: What the replica raised, as it raised it.
    """
    try:
        answer = await response
    except asyncio.CancelledError:
        response.cancel()
        raise
    except BackPressureError as error:
        raise OverloadedError("too many requests are waiting", "try again in a moment") from error
    except (RayActorError, DeploymentUnavailableError, RequestCancelledError) as error:
        raise NotReadyError("no replica can answer just now", "try again in a moment") from error
    except RayTaskError as error:
        # The original says which error it is, Ray's says where it happened: both for the log.
        cause = error.cause
        raise (cause if isinstance(cause, Exception) else error) from error
    except RayServeException as error:
        raise NotReadyError("the service is changing", "try again in a moment") from error
    heard(answer)
    return answer
