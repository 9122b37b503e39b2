"""What happens around every call: request id, token, room, deadline, log line, gRPC code."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import AbortError, ServerInterceptor, ServicerContext

from aufleet.errors import (
    AufleetError,
    DeadlineError,
    InvalidRequestError,
    NotReadyError,
    OverloadedError,
)
from aufleet.serving.access_log import AccessLog
from aufleet.serving.call import REQUEST_ID_KEY, Call, enter_call, request_id_of
from aufleet.serving.config import Limits
from aufleet.serving.metrics import Metrics
from aufleet.serving.quotas import Quotas
from aufleet.serving.status import Failure, failure_of
from aufleet.serving.tokens import ANALYZE, READ_MODELS, Doorkeeper, TokenRow

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
STREAMS = frozenset({f"{_FACES}AnalyzeStream"})
"""Our own streams; every other one is gRPC's business: health's Watch, reflection."""
END_S = 1.0
"""How long the code of a call that has ended may wait for its caller."""
ADMISSION_S = 1.0
"""How often the token of an open stream is looked at again."""

Handler = Any
"""A gRPC method handler; the stubs only know the synchronous kind."""


class Room:
    """How many are inside at the same time.

    Args:
        limit: The most.
        of: What they are, for the refusal.
    """

    def __init__(self, limit: int, *, of: str) -> None:
        self._limit, self._of, self._count = limit, of, 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Count one in, or send it away.

        Raises:
            OverloadedError: The room is full.
        """
        if self._count >= self._limit:
            raise OverloadedError(f"too many {self._of} at the same time", "try again in a moment")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class Guard(ServerInterceptor):
    """Stands before every service of the gateway."""

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        *,
        limits: Limits,
        log: AccessLog,
        metrics: Metrics | None = None,
    ) -> None:
        self._doorkeeper, self._limits, self._log = doorkeeper, limits, log
        self._metrics = metrics or Metrics(methods=SCOPES_OF_METHODS)
        self._quotas = Quotas()
        self._calls = Room(limits.max_calls, of="calls")
        self._streams = Room(limits.max_streams, of="streams")
        self._active: set[asyncio.Task[Any]] = set()
        self._is_ending = False

    def end_calls(self) -> None:
        """Tell every call that is left to come again: the gateway is about to go."""
        self._is_ending = True
        for task in self._active:
            task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return a handler that answers, or one that refuses without reading the request."""
        sent = {key: value for key, value in handler_call_details.invocation_metadata}
        method = handler_call_details.method
        request_id = request_id_of(_text(sent.get(REQUEST_ID_KEY)))
        authorization = _text(sent.get("authorization"))
        try:
            self._check_metadata(handler_call_details.invocation_metadata)
            token = self._admit(method, authorization=authorization)
        except AufleetError as error:
            call = self._begin(method, request_id=request_id, token=None, remaining_s=None)
            return self._refusal(call, failure_of(error, request_id=request_id))
        handler = await continuation(handler_call_details)
        if method in STREAMS:

            async def stream(messages: AsyncIterator[bytes], context: ServicerContext) -> None:
                call = self._begin(
                    method,
                    request_id=request_id,
                    token=token,
                    remaining_s=context.time_remaining(),
                )
                requests = self._requests(handler, call, messages, authorization=authorization)
                await self._conclude(
                    call,
                    context,
                    room=self._streams,
                    answer=lambda: handler.stream_stream(requests, context),
                )

            return grpc.stream_stream_rpc_method_handler(
                stream, response_serializer=handler.response_serializer
            )
        # Unknown methods and other streams are gRPC's and the services' own business.
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler

        async def answer(message: bytes, context: ServicerContext) -> Any:  # noqa: ANN401
            call = self._begin(
                method,
                request_id=request_id,
                token=token,
                remaining_s=context.time_remaining(),
            )
            return await self._conclude(
                call,
                context,
                room=self._calls,
                answer=lambda: handler.unary_unary(_parse(handler, message), context),
            )

        # Without a deserializer the bytes come as they were sent, and we say what is wrong.
        return grpc.unary_unary_rpc_method_handler(
            answer, response_serializer=handler.response_serializer
        )

    def _check_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        size = sum(len(key) + len(value) for key, value in metadata)
        if size > self._limits.max_metadata_bytes:
            raise InvalidRequestError(
                f"metadata: {size} bytes are too many",
                f"send at most {self._limits.max_metadata_bytes}",
            )

    def _admit(self, method: str, *, authorization: str) -> TokenRow | None:
        if method.startswith(OPEN_SERVICES):
            return None
        return self._doorkeeper.admit(authorization, scope=SCOPES_OF_METHODS.get(method))

    def _begin(
        self, method: str, *, request_id: str, token: TokenRow | None, remaining_s: float | None
    ) -> Call:
        now = time.monotonic()
        limits = self._limits
        longest = limits.max_stream_s if method in STREAMS else limits.max_call_s
        return Call(
            method=method,
            request_id=request_id,
            caller=token.name if token else "",
            token=token,
            on_answer=self._count_answer,
            began_s=now,
            deadline_s=now + (longest if remaining_s is None else min(remaining_s, longest)),
        )

    async def _requests(
        self,
        handler: Handler,
        call: Call,
        messages: AsyncIterator[bytes],
        *,
        authorization: str,
    ) -> AsyncIterator[Any]:
        """Yield a stream's requests for as long as its token is valid."""
        seen_s = time.monotonic()
        async for message in messages:
            if time.monotonic() - seen_s > ADMISSION_S:
                self._admit(call.method, authorization=authorization)
                seen_s = time.monotonic()
            await self._quotas.turn(call.token)
            yield _parse(handler, message)

    async def _conclude(
        self,
        call: Call,
        context: ServicerContext,
        *,
        room: "Room",
        answer: Callable[[], Awaitable[Any]],
    ) -> Any:  # noqa: ANN401 - the service's response
        """Return the answer where there is one, end the call with its code, write its line."""
        enter_call(call)
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        self._metrics.began(call)
        code, task = "OK", asyncio.current_task()
        assert task is not None
        self._active.add(task)
        try:
            with room.entered(), self._quotas.entered(call.token):
                async with asyncio.timeout(call.remaining_s):
                    return await answer()
        except AbortError:
            code = _name_of(context.code())
            raise
        except asyncio.CancelledError:
            if not self._is_ending:
                # The caller has gone, or its own deadline has passed.
                code = "CANCELLED"
                raise
            task.uncancel()
            failure = self._failure_of(NotReadyError("the gateway is stopping", "ask again"), call)
            code = failure.code.name
            await _end(context, call, failure)
        except Exception as error:
            failure = self._failure_of(error, call)
            code = failure.code.name
            await _end(context, call, failure)
        finally:
            self._active.discard(task)
            self._log.ended(call, code=code)
            self._metrics.ended(call, code=code)

    def _count_answer(self, call: Call, answer: object) -> None:
        self._metrics.answered(answer, model=call.model)

    def _failure_of(self, error: Exception, call: Call) -> Failure:
        if isinstance(error, TimeoutError):
            error = DeadlineError("the deadline passed before the answer was there")
        failure = failure_of(error, request_id=call.request_id)
        if failure.code is grpc.StatusCode.INTERNAL:
            self._log.internal_error(call, error)
        return failure

    def _refusal(self, call: Call, failure: Failure) -> Handler:
        async def refuse(_messages: object, context: ServicerContext) -> None:
            self._log.ended(call, code=failure.code.name)
            self._metrics.refused(call, code=failure.code.name)
            await _end(context, call, failure)

        # A handler of streams is not given the request, so a stranger's bytes are never read.
        return grpc.stream_stream_rpc_method_handler(refuse)


async def _end(context: ServicerContext, call: Call, failure: Failure) -> None:
    """End a call with a code.

    The code travels behind the answers. A caller that does not take those does not get it either:
    its call is dropped, or it would be held for as long as the caller likes.
    """
    metadata = ((REQUEST_ID_KEY, call.request_id), *failure.metadata)
    try:
        async with asyncio.timeout(END_S):
            await context.abort(failure.code, failure.message, trailing_metadata=metadata)
    except TimeoutError:
        # gRPC resets the stream of a call whose handler is gone.
        raise asyncio.CancelledError from None


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
