"""Objects in an S3-compatible store through s3fs, with retries up to a deadline."""

import os
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from aufleet.errors import (
    AlreadyExistsError,
    ObjectMissingError,
    StoreCredentialsError,
    StoreError,
    StoreUnavailableError,
)

DEADLINE_VARIABLE = "AUFLEET_STORE_DEADLINE_S"
DEFAULT_DEADLINE_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_REFUSALS = {
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_MISSING = {"404", "NoSuchBucket", "NoSuchKey"}
_CREDENTIALS_REMEDY = "check the file that AWS_SHARED_CREDENTIALS_FILE names, or the machine's role"

_Result = TypeVar("_Result")


@lru_cache(maxsize=4)
def _filesystem(_pid: int) -> Any:  # noqa: ANN401 - s3fs has no types
    """Return this process's connection; keyed by process, for one must not survive a fork."""
    import s3fs

    return s3fs.S3FileSystem(
        use_listings_cache=False,
        skip_instance_cache=True,
        # The retries are ours: they end at a deadline and name the key.
        config_kwargs={
            "connect_timeout": 5,
            "read_timeout": 20,
            "retries": {"mode": "standard", "total_max_attempts": 1},
        },
    )


class S3Objects:
    """Paths are `bucket/key`."""

    def read(self, path: str) -> bytes:
        """Return an object's bytes."""
        return _persist("reading", path, lambda fs: fs.cat_file(path))

    def write(self, path: str, data: bytes) -> None:
        """Write an object."""
        _persist("writing", path, lambda fs: fs.pipe_file(path, data))

    def write_new(self, path: str, data: bytes) -> None:
        """Write with `If-None-Match: *`."""
        attempts = 0

        def create(fs: Any) -> None:  # noqa: ANN401
            nonlocal attempts
            attempts += 1
            fs.pipe_file(path, data, mode="create")

        try:
            _persist("writing", path, create)
        except AlreadyExistsError:
            # An answer that got lost on the way looks like another writer: look at the bytes.
            if attempts == 1 or self.read(path) != data:
                raise

    def exists(self, path: str) -> bool:
        """Ask for the object itself: a listing shows deleted prefixes for a while."""
        bucket, _, key = path.partition("/")
        try:
            _persist("finding", path, lambda fs: fs.call_s3("head_object", Bucket=bucket, Key=key))
        except ObjectMissingError:
            return False
        return True

    def listing(self, path: str) -> list[str]:
        """Return the keys of all objects below a prefix, relative to it."""
        bucket, _, key = path.partition("/")
        prefix = f"{key}/" if key else ""

        def pages(fs: Any) -> list[str]:  # noqa: ANN401
            found, token = [], {}
            while True:
                page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
                found += [item["Key"] for item in page.get("Contents", [])]
                if not page.get("IsTruncated"):
                    return found
                token = {"ContinuationToken": page["NextContinuationToken"]}

        keys = _persist("listing", path, pages)
        return [name.removeprefix(prefix) for name in keys if not name.endswith("/")]

    def delete(self, paths: list[str]) -> None:
        """Delete objects, a thousand at a time."""
        for start in range(0, len(paths), 1000):
            some = paths[start : start + 1000]
            bucket = some[0].partition("/")[0]
            names = [{"Key": path.partition("/")[2]} for path in some]

            def call(fs: Any, bucket: str = bucket, names: list = names) -> None:  # noqa: ANN401
                fs.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": names})

            _persist("deleting", some[0], call)


def _persist(operation: str, path: str, call: Callable[[Any], _Result]) -> _Result:
    """Call until it succeeds, fails for good, or the deadline passes."""
    deadline_s = float(os.environ.get(DEADLINE_VARIABLE, DEFAULT_DEADLINE_S))
    began, pause_s = time.monotonic(), _FIRST_PAUSE_S
    while True:
        try:
            return call(_filesystem(os.getpid()))
        except Exception as error:
            final = _translate(operation, path, error)
            if final is not None:
                raise final from error
            left_s = deadline_s - (time.monotonic() - began)
            if left_s <= pause_s:
                raise StoreUnavailableError(
                    f"{operation} s3://{path} got no answer within {deadline_s:.0f} s ({error})",
                    "see that the store runs and can be reached, then repeat the command",
                ) from error
        time.sleep(random.uniform(0.5, 1.0) * pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _translate(operation: str, path: str, error: Exception) -> StoreError | None:
    """Return the error to raise, or None where trying again may help."""
    import botocore.exceptions as boto

    code, status = _response_of(error)
    if isinstance(error, FileExistsError) or code == "PreconditionFailed":
        return AlreadyExistsError(f"s3://{path} is there already")
    if isinstance(error, FileNotFoundError) or code in _MISSING:
        return ObjectMissingError(
            f"s3://{path} is not in the store", "check the name, or make it again"
        )
    refused = code in _REFUSALS or isinstance(error, PermissionError)
    if refused or isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return StoreCredentialsError(
            f"the store refuses the credentials for {operation} s3://{path}", _CREDENTIALS_REMEDY
        )
    if 400 <= status < 500 and status not in {408, 409, 429}:
        return StoreError(f"{operation} s3://{path} failed: {error}")
    if isinstance(error, boto.BotoCoreError | boto.ClientError | OSError | TimeoutError):
        return None
    return StoreError(f"{operation} s3://{path} failed: {type(error).__name__}: {error}")


def _response_of(error: BaseException | None) -> tuple[str, int]:
    """Return S3's error code and HTTP status from an error or what caused it.

    s3fs turns most answers into OSError; not every server names the failed condition as AWS does,
    so the code is read from the cause (`PreconditionFailed` arrives as a plain EINVAL).
    """
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return str(response.get("Error", {}).get("Code", "")), int(status)
        error = error.__cause__
    return "", 0
