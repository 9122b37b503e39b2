"""What happens around every call: request id, token, room, deadline, log line, gRPC code."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import AbortError, ServerInterceptor, ServicerContext

from aufleet.errors import AufleetError, DeadlineError, InvalidRequestError, OverloadedError
from aufleet.serving.access_log import AccessLog
from aufleet.serving.call import REQUEST_ID_KEY, Call, enter_call, request_id_of
from aufleet.serving.config import Limits
from aufleet.serving.status import Failure, failure_of
from aufleet.serving.tokens import ANALYZE, READ_MODELS, Doorkeeper

_FACES = "/aufleet.api.v1.FaceAnalysisService/"
_INFERENCE = "/inference.GRPCInferenceService/"
SCOPES_OF_METHODS = {
    f"{_FACES}DetectActionUnits": ANALYZE,
    f"{_FACES}GradePalsy": ANALYZE,
    f"{_FACES}AnalyzeStream": ANALYZE,
    f"{_FACES}ListModels": READ_MODELS,
    f"{_FACES}GetModel": READ_MODELS,
    f"{_INFERENCE}ModelInfer": ANALYZE,
    f"{_INFERENCE}ModelReady": READ_MODELS,
    f"{_INFERENCE}ModelMetadata": READ_MODELS,
}
"""Every other method needs a token with any scope: reflection, for example."""
OPEN_SERVICES = ("/grpc.health.v1.Health/",)
"""Load balancers and probes have no token."""

Handler = Any
"""A gRPC method handler; the stubs only know the synchronous kind."""


class Guard(ServerInterceptor):
    """Stands before every service of the gateway."""

    def __init__(self, doorkeeper: Doorkeeper, *, limits: Limits, log: AccessLog) -> None:
        self._doorkeeper, self._limits, self._log = doorkeeper, limits, log
        self._num_calls = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return a handler that answers, or one that refuses without reading the request."""
        sent = {key: value for key, value in handler_call_details.invocation_metadata}
        method = handler_call_details.method
        request_id = request_id_of(_text(sent.get(REQUEST_ID_KEY)))
        try:
            caller = self._admit(method, authorization=_text(sent.get("authorization")))
        except AufleetError as error:
            call = self._begin(method, request_id=request_id, caller="", remaining_s=None)
            return self._refusal(call, failure_of(error, request_id=request_id))
        handler = await continuation(handler_call_details)
        # Unknown methods and streams are gRPC's and the services' own business.
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler

        async def answer(message: bytes, context: ServicerContext) -> Any:  # noqa: ANN401
            call = self._begin(
                method,
                request_id=request_id,
                caller=caller,
                remaining_s=context.time_remaining(),
            )
            return await self._answer(handler, call, message, context)

        # Without a deserializer the bytes come as they were sent, and we say what is wrong.
        return grpc.unary_unary_rpc_method_handler(
            answer, response_serializer=handler.response_serializer
        )

    def _admit(self, method: str, *, authorization: str) -> str:
        if method.startswith(OPEN_SERVICES):
            return ""
        return self._doorkeeper.admit(authorization, scope=SCOPES_OF_METHODS.get(method))

    def _begin(
        self, method: str, *, request_id: str, caller: str, remaining_s: float | None
    ) -> Call:
        now = time.monotonic()
        longest = self._limits.max_call_s
        return Call(
            method=method,
            request_id=request_id,
            caller=caller,
            began_s=now,
            deadline_s=now + (longest if remaining_s is None else min(remaining_s, longest)),
        )

    async def _answer(
        self, handler: Handler, call: Call, message: bytes, context: ServicerContext
    ) -> Any:  # noqa: ANN401 - the service's response
        enter_call(call)
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        code = "OK"
        try:
            with self._room():
                request = _parse(handler, message)
                async with asyncio.timeout(call.remaining_s):
                    return await handler.unary_unary(request, context)
        except AbortError:
            code = _name_of(context.code())
            raise
        except asyncio.CancelledError:
            # The caller has gone, or its own deadline has passed.
            code = "CANCELLED"
            raise
        except Exception as error:
            failure = self._failure_of(error, call)
            code = failure.code.name
            await _end(context, call, failure)
        finally:
            self._log.ended(call, code=code)

    def _failure_of(self, error: Exception, call: Call) -> Failure:
        if isinstance(error, TimeoutError):
            error = DeadlineError("the deadline passed before the answer was there")
        failure = failure_of(error, request_id=call.request_id)
        if failure.code is grpc.StatusCode.INTERNAL:
            self._log.internal_error(call, error)
        return failure

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Count a call in, or send it away."""
        if self._num_calls >= self._limits.max_calls:
            raise OverloadedError("too many calls at the same time", "try again in a moment")
        self._num_calls += 1
        try:
            yield
        finally:
            self._num_calls -= 1

    def _refusal(self, call: Call, failure: Failure) -> Handler:
        async def refuse(_messages: object, context: ServicerContext) -> None:
            self._log.ended(call, code=failure.code.name)
            await _end(context, call, failure)

        # A handler of streams is not given the request, so a stranger's bytes are never read.
        return grpc.stream_stream_rpc_method_handler(refuse)


async def _end(context: ServicerContext, call: Call, failure: Failure) -> None:
    metadata = ((REQUEST_ID_KEY, call.request_id), *failure.metadata)
    await context.abort(failure.code, failure.message, trailing_metadata=metadata)


def _parse(handler: Handler, message: bytes) -> Any:  # noqa: ANN401 - the service's request
    try:
        return handler.request_deserializer(message)
    except DecodeError:
        raise InvalidRequestError(
            "the request is not the message that the method takes", "send it as the .proto says"
        ) from None


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else ""


def _name_of(code: object) -> str:
    """Return a code's name; the context tells it as a number or as a `StatusCode`."""
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((each.name for each in grpc.StatusCode if each.value[0] == code), "UNKNOWN")
