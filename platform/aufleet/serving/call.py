"""The call that is being answered: set by the guard, read by the services."""

import re
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from aufleet.serving.tokens import TokenRow

REQUEST_ID_KEY = "x-request-id"

_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_current: ContextVar["Call"] = ContextVar("current_call")


@dataclass(kw_only=True)
class Call:
    """One call of one caller."""

    method: str
    """"/package.Service/Method"."""
    request_id: str
    """The caller's, or ours."""
    caller: str
    """Name of the caller's token; empty where none is needed."""
    began_s: float
    """On the monotonic clock."""
    deadline_s: float
    """On the monotonic clock."""
    token: TokenRow | None = None
    """The row of the caller's token; None where none is needed, or none was valid."""
    on_answer: "Callable[[Call, object], None] | None" = None
    """Told every answer of a replica that this call has got."""
    model: str = ""
    """"NAME:VERSION" that answers, once it is known."""

    @property
    def turn(self) -> str:
        """What takes turns with others; the caller's name is in it, the request id is his own."""
        return f"{self.caller}/{self.request_id}"

    @property
    def elapsed_ms(self) -> float:
        """Time since it began."""
        return (time.monotonic() - self.began_s) * 1e3

    @property
    def remaining_s(self) -> float:
        """Time until its deadline."""
        return self.deadline_s - time.monotonic()


def enter_call(call: Call) -> None:
    """Make it the current call of this task."""
    _current.set(call)


def current_call() -> Call:
    """Return the call that this task answers."""
    return _current.get()


def heard(answer: object) -> None:
    """Tell the current call, where there is one, what a replica has answered."""
    call = _current.get(None)
    if call is not None and call.on_answer is not None:
        call.on_answer(call, answer)


def request_id_of(sent: str) -> str:
    """Return the caller's request id where it is a sensible one, else a new one."""
    # What the caller sends goes into logs and answers, so only harmless characters pass.
    return sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
