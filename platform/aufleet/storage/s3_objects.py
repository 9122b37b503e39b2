"""Objects in an S3-compatible store through s3fs, with retries up to a deadline."""

import asyncio
import contextlib
import os
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
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
_LONGEST_SILENCE_S = 20.0
_SLOWEST_BYTES_PER_S = 500_000
_DOWNLOAD_PART_BYTES = 8 * 1024**2
_REFUSALS = {
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_WRITER = "writer"
"""Metadata of an object that is written once: which write made it."""
_MISSING = {"404", "NoSuchBucket", "NoSuchKey", "NoSuchUpload"}
_CREDENTIALS_REMEDY = "check the file that AWS_SHARED_CREDENTIALS_FILE names, or the machine's role"

_Result = TypeVar("_Result")


@lru_cache(maxsize=4)
def _filesystem(_pid: int, deadline_s: float) -> Any:  # noqa: ANN401 - s3fs has no types
    """Return this process's connection; keyed by process, for one must not survive a fork."""
    import s3fs

    filesystem = s3fs.S3FileSystem(
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={
            "connect_timeout": 5,
            "read_timeout": _longest_silence_s(deadline_s),
            "retries": {"mode": "standard", "total_max_attempts": 1},
        },
    )
    # The retries are ours: they end at a deadline and name the key. With those of s3fs (5 each
    # around the other) a store that hangs took 102 s to become an error instead of 5.
    filesystem.retries = 1
    return filesystem


def _longest_silence_s(deadline_s: float) -> float:
    """Return how long one attempt waits: a store that stays silent is asked three times."""
    return min(_LONGEST_SILENCE_S, deadline_s / 3)


class S3Objects:
    """Paths are `bucket/key`."""

    def read(self, path: str) -> bytes:
        """Return an object's bytes."""
        return _persist("reading", path, lambda fs: fs._cat_file(path))

    def download(self, path: str, to: Path) -> None:
        """Ask for one part after another, so that a fault costs one part and not the whole."""
        head = self._head(path)
        size_bytes = int(head["ContentLength"])
        with to.open("wb") as file:
            for start in range(0, size_bytes, _DOWNLOAD_PART_BYTES):
                end = min(start + _DOWNLOAD_PART_BYTES, size_bytes)
                tag, part = _persist("reading", path, _part_reader(path, start=start, end=end))
                if tag != head["ETag"]:
                    raise StoreError(
                        f"s3://{path} was replaced while it was read", "repeat the command"
                    )
                file.write(part)

    def write(self, path: str, data: bytes) -> None:
        """Write an object."""
        _persist("writing", path, lambda fs: fs._pipe_file(path, data), size_bytes=len(data))

    def write_new(self, path: str, data: bytes) -> None:
        """Write with `If-None-Match: *`."""
        # An answer that got lost on the way looks like another writer, and not only our retries
        # ask again (aiohttp sends a PUT twice where a connection breaks): the object's mark tells.
        mark = uuid.uuid4().hex

        def create(fs: Any) -> Awaitable[None]:  # noqa: ANN401
            return fs._pipe_file(path, data, mode="create", Metadata={_WRITER: mark})

        try:
            _persist("writing", path, create, size_bytes=len(data))
        except AlreadyExistsError:
            if self._head(path)["Metadata"].get(_WRITER) != mark:
                raise

    def exists(self, path: str) -> bool:
        """Ask for the object itself: a listing shows deleted prefixes for a while."""
        try:
            self._head(path)
        except ObjectMissingError:
            return False
        return True

    def _head(self, path: str) -> dict[str, Any]:
        bucket, _, key = path.partition("/")
        return _persist(
            "finding", path, lambda fs: fs._call_s3("head_object", Bucket=bucket, Key=key)
        )

    def listing(self, path: str) -> list[tuple[str, int, float]]:
        """Return key, size and time of all objects below a prefix; keys are relative to it."""
        bucket, prefix = _bucket_and_prefix(path)

        async def pages(fs: Any) -> list[dict]:  # noqa: ANN401
            found, token = [], {}
            while True:
                page = await fs._call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
                found += page.get("Contents", [])
                if not page.get("IsTruncated"):
                    return found
                token = {"ContinuationToken": page["NextContinuationToken"]}

        return [
            (item["Key"].removeprefix(prefix), item["Size"], item["LastModified"].timestamp())
            for item in _persist("listing", path, pages)
            if not item["Key"].endswith("/")
        ]

    def unfinished(self, path: str) -> list[tuple[str, int, float]]:
        """Return multipart uploads that were never completed, as "key?uploadId", without size."""
        bucket, prefix = _bucket_and_prefix(path)

        async def pages(fs: Any) -> list[dict]:  # noqa: ANN401
            found, marker = [], {}
            while True:
                page = await fs._call_s3(
                    "list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marker
                )
                found += page.get("Uploads", [])
                if not page.get("IsTruncated"):
                    return found
                marker = {
                    "KeyMarker": page["NextKeyMarker"],
                    "UploadIdMarker": page["NextUploadIdMarker"],
                }

        return [
            (
                f"{item['Key'].removeprefix(prefix)}?{item['UploadId']}",
                0,
                item["Initiated"].timestamp(),
            )
            for item in _persist("listing unfinished uploads to", path, pages)
            if item["Key"].startswith(prefix)
        ]

    def abandon(self, path: str, names: list[str]) -> None:
        """Abort multipart uploads."""
        bucket, prefix = _bucket_and_prefix(path)
        for name in names:
            key, _, upload = name.rpartition("?")
            arguments = {"Bucket": bucket, "Key": f"{prefix}{key}", "UploadId": upload}
            with contextlib.suppress(ObjectMissingError):
                _persist(
                    "abandoning an upload to",
                    f"{bucket}/{prefix}{key}",
                    lambda fs, call=arguments: fs._call_s3("abort_multipart_upload", **call),
                )

    def delete(self, paths: list[str]) -> None:
        """Delete objects, a thousand at a time."""
        for start in range(0, len(paths), 1000):
            self._delete_together(paths[start : start + 1000])

    def _delete_together(self, paths: list[str]) -> None:
        bucket = paths[0].partition("/")[0]
        doomed = {"Objects": [{"Key": path.partition("/")[2]} for path in paths]}
        _persist(
            "deleting",
            paths[0],
            lambda fs: fs._call_s3("delete_objects", Bucket=bucket, Delete=doomed),
            size_bytes=sum(map(len, paths)),
        )


def _part_reader(
    path: str, *, start: int, end: int
) -> Callable[[Any], Awaitable[tuple[str, bytes]]]:
    """Return what reads the bytes from `start` up to `end` and the tag of the object."""
    bucket, _, key = path.partition("/")

    async def read(fs: Any) -> tuple[str, bytes]:  # noqa: ANN401
        answer = await fs._call_s3(
            "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}"
        )
        async with answer["Body"] as body:
            part = await body.read()
        if len(part) != end - start:
            raise OSError(f"{len(part)} of {end - start} bytes came")
        return answer["ETag"], part

    return read


def _bucket_and_prefix(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, f"{key}/" if key else ""


def _persist(
    operation: str,
    path: str,
    call: Callable[[Any], Awaitable[_Result]],
    *,
    size_bytes: int | None = None,
) -> _Result:
    """Call until it succeeds, fails for good, or the deadline passes.

    Args:
        operation: What is done, for the error.
        path: To what.
        call: Starts one attempt on s3fs's asynchronous interface.
        size_bytes: How much the call sends; None for one that only receives.
    """
    deadline_s = float(os.environ.get(DEADLINE_VARIABLE, DEFAULT_DEADLINE_S))
    began, pause_s = time.monotonic(), _FIRST_PAUSE_S
    while True:
        try:
            return _attempt(call, deadline_s=deadline_s, size_bytes=size_bytes)
        except Exception as error:
            final = _translate(operation, path, error)
            if final is not None:
                raise final from error
            left_s = deadline_s - (time.monotonic() - began)
            if left_s <= pause_s:
                raise StoreUnavailableError(
                    f"{operation} s3://{path} got no answer within {deadline_s:.0f} s "
                    f"({str(error) or 'the store is silent'})",
                    "see that the store runs and can be reached, then repeat the command",
                ) from error
        time.sleep(random.uniform(0.5, 1.0) * pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _attempt(
    call: Callable[[Any], Awaitable[_Result]], *, deadline_s: float, size_bytes: int | None
) -> _Result:
    from fsspec.asyn import sync

    filesystem = _filesystem(os.getpid(), deadline_s)
    limit_s = None
    if size_bytes is not None:
        # The read time-out begins when all is sent, and aiohttp waits for the "100 Continue"
        # before that without a limit: a write to a store that hangs would never return.
        limit_s = _longest_silence_s(deadline_s) + size_bytes / _SLOWEST_BYTES_PER_S

    async def limited() -> _Result:
        async with asyncio.timeout(limit_s):
            return await call(filesystem)

    result: Any = sync(filesystem.loop, limited)
    return result


def _translate(operation: str, path: str, error: Exception) -> StoreError | None:
    """Return the error to raise, or None where trying again may help."""
    import botocore.exceptions as boto
    from s3fs.core import S3_RETRYABLE_ERRORS

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
    if 400 <= status < 500 and status not in {408, 409, 429} and code != "RequestTimeout":
        return StoreError(f"{operation} s3://{path} failed: {error}")
    transient = (boto.BotoCoreError, boto.ClientError, OSError, *S3_RETRYABLE_ERRORS)
    if isinstance(error, transient):
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
