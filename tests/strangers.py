"""What a stranger, who has neither token nor certificate, gets out of a socket."""

import importlib
import pkgutil
from functools import cache
from http.client import HTTPException
from urllib.request import urlopen

import grpc


@cache
def one_method_per_service():
    """Return a method of each of Ray's services, the ones of Serve's replicas among them."""
    from ray.core import generated

    services = []
    for module in pkgutil.iter_modules(generated.__path__):
        if module.name.endswith("_pb2"):
            found = importlib.import_module(f"ray.core.generated.{module.name}")
            services += found.DESCRIPTOR.services_by_name.values()
    assert len(services) > 20
    return [f"/{service.full_name}/{service.methods[0].name}" for service in services]


def codes_for_a_stranger(host, port):
    """Return the codes of a method of each of Ray's services, without Ray's token."""
    codes = set()
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for method in one_method_per_service():
            try:
                channel.unary_unary(method)(b"", timeout=5)
                codes.add("OK")
            except grpc.RpcError as error:
                codes.add(error.code().name)
            if "UNAVAILABLE" in codes:
                break  # it does not speak gRPC
    return codes


def page_for_a_stranger(host, port):
    """Return what an HTTP server shows; None where it refuses or is none."""
    try:
        with urlopen(f"http://{host}:{port}/", timeout=5) as answer:
            return answer.read(200).decode()
    except (OSError, HTTPException):
        return None
