"""Strangers at the gateway: refused, counted and logged, while callers go on.

    .venv/bin/python tests/chaos/serve_refusals.py --count 18

In turn: no token, a wrong one, an expired one, one without the scope, oversized metadata, an
expired certificate, no certificate, one of another authority, a client without TLS. Each is tried
20 times. Promise: the right code each time; in the metrics and in the access log stands every one,
a connection that ended in its handshake too.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import grpc

from kit.rounds import Outcome, parse, run_rounds  # isort: skip - it sets the path
from identities import Authority, Identity
from kit.load import aligned_frame
from kit.services import Chaos, small_service
from prometheus_client.parser import text_string_to_metric_families

from aufleet.api.v1 import face_analysis_service_pb2 as messages
from aufleet.api.v1.face_analysis_service_pb2_grpc import FaceAnalysisServiceStub
from aufleet.serving.tokens import READ_MODELS, TokenFile

TRIES = 20
METHOD = "/aufleet.api.v1.FaceAnalysisService/DetectActionUnits"
AT_THE_DOOR = {
    "no token": "UNAUTHENTICATED",
    "wrong token": "UNAUTHENTICATED",
    "expired token": "UNAUTHENTICATED",
    "no scope": "PERMISSION_DENIED",
    "oversized metadata": "INVALID_ARGUMENT",
}
BEFORE_THE_DOOR = ("expired certificate", "no certificate", "another authority", "no TLS")
KINDS = (*AT_THE_DOOR, *BEFORE_THE_DOOR)


class Strangers:
    """Makes the connections and the metadata of each kind of stranger."""

    def __init__(self, chaos: Chaos, authority: Authority) -> None:
        self._service, self._authority = chaos.service, authority
        tokens = TokenFile(chaos.service.home / "tokens.json")
        self._tokens = {
            "expired token": tokens.create("late", scopes=["analyze"], expires_days=1e-9),
            "no scope": tokens.create("reader", scopes=[READ_MODELS], expires_days=1),
            "wrong token": "auf_0123456789ab_" + "x" * 43,
        }

    def channel(self, kind: str) -> grpc.aio.Channel:
        """Return a connection of its own."""
        own = [("grpc.use_local_subchannel_pool", 1)]
        if kind == "no TLS":
            return grpc.aio.insecure_channel(self._service.target, options=own)
        identities: dict[str, Callable[[], Identity | None]] = {
            "expired certificate": lambda: self._authority.identity(ends_in=timedelta(days=-1)),
            "no certificate": lambda: None,
            "another authority": lambda: Authority().identity(),
        }
        identity = identities.get(kind, self._authority.identity)()
        key, chain = (identity.key, identity.chain) if identity else (None, None)
        credentials = grpc.ssl_channel_credentials(self._service.roots, key, chain)
        return grpc.aio.secure_channel(self._service.target, credentials, options=own)

    def metadata(self, kind: str) -> tuple[tuple[str, str], ...]:
        """Return what the calls carry."""
        if kind == "no token":
            return ()
        sent = self._service.metadata(self._tokens.get(kind))
        return (*sent, ("x-filler", "x" * 9000)) if kind == "oversized metadata" else sent


def main() -> int:
    """Run the rounds."""
    options = parse(__doc__ or "", count=2 * len(KINDS))
    authority = Authority()
    trusted = authority.write(options.work / "trusted.pem")
    flags = ("--metrics-port", "0", "--client-ca-file", str(trusted))
    with small_service(options.work, *flags) as chaos:
        strangers = Strangers(chaos, authority)

        def one(number: int) -> Outcome:
            return asyncio.run(_round(chaos, strangers, KINDS[number % len(KINDS)]))

        return run_rounds(one, count=options.count, work=options.work)


async def _round(chaos: Chaos, strangers: Strangers, kind: str) -> Outcome:
    expected = AT_THE_DOOR.get(kind, "UNAVAILABLE")
    before = _counts(chaos, expected)
    codes = Counter([await _try(strangers, kind) for _ in range(TRIES)])
    friend = await _try(strangers, "friend")
    after = _counts(chaos, expected)
    grown = {name: after[name] - before[name] for name in before}
    wrong = []
    if codes != {expected: TRIES}:
        wrong.append("another code")
    if kind in AT_THE_DOOR and (grown["counted"], grown["logged"]) != (TRIES, TRIES):
        wrong.append("not every one was counted and logged")
    refused = grown["refused connections"], grown["logged connections"]
    if kind in BEFORE_THE_DOOR and (min(refused) < TRIES or refused[0] != refused[1]):
        wrong.append("not every connection was counted and logged")
    if friend != "OK":
        wrong.append(f"a caller with everything right got {friend}")
    told = f"{dict(codes)}, {', '.join(f'{count:g} {name}' for name, count in grown.items())}"
    return Outcome(ok=not wrong, kind=kind, said="; ".join([*wrong, told]))


async def _try(strangers: Strangers, kind: str) -> str:
    """Make one call; returns its code."""
    request = messages.DetectActionUnitsRequest(frames=[aligned_frame()])
    async with strangers.channel(kind) as channel:
        stub = FaceAnalysisServiceStub(channel)
        try:
            await stub.DetectActionUnits(request, metadata=strangers.metadata(kind), timeout=20)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"


def _counts(chaos: Chaos, code: str) -> dict[str, float]:
    """Return what metrics and log hold of a code, and of connections."""
    time.sleep(0.2)  # the line of a call is written as it ends
    ready = chaos.service.ready
    with urlopen(f"http://{ready['metrics']}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = [sample for family in families for sample in family.samples]
    counted = sum(
        sample.value
        for sample in samples
        if sample.name == "aufleet_requests_total"
        and (sample.labels["method"], sample.labels["code"]) == (METHOD, code)
    )
    refused = sum(sample.value for sample in samples if sample.name == "aufleet_tls_refused_total")
    log = Path(chaos.service.home / "logs" / "access.log").read_text()
    return {
        "counted": counted,
        "logged": log.count(f'"code": "{code}"'),
        "refused connections": refused,
        "logged connections": log.count('"event": "handshake refused"'),
    }


if __name__ == "__main__":
    sys.exit(main())
