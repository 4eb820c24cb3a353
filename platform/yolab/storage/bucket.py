"""Files below a prefix of a bucket: in S3, or in what speaks it (AWS_ENDPOINT_URL). Keys and region come from where
AWS's own tools have them: the environment, its files, the machine's role."""

import functools
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from yolab.errors import UsageError, YolabError
from yolab.storage.place import LEFT_SECONDS, Storage

_PATIENCE_SECONDS = 330.0  # with a server that is away, before what was asked of it fails
_KNOCK_SECONDS = 10.0  # the same, before a job begins
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 20.0
_PART_BYTES = 1 << 16  # of a file that grows
_SINGLE_BYTES = 1 << 26  # what is larger is sent in parts
_TRY_AGAIN = {408, 409, 429}  # beside those from 500 on

logger = logging.getLogger("yolab")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Bucket(Storage):
    """Everything is sent with a checksum that the server compares. A file that grows, as logs do, is a folder of
    numbered parts, of which the last is replaced. A server that is away, or says that it is busy, is asked again for
    five minutes."""

    bucket: str
    prefix: str

    @classmethod
    def named(cls, place: str) -> "Bucket":
        """Return the place `bucket/prefix`. Raises UsageError."""
        bucket, _, prefix = place.partition("/")
        if not bucket:
            raise UsageError(f"The storage can't be s3://{place}: name a bucket, as in s3://bucket/runs.")
        return cls(bucket, prefix.strip("/"))

    def __truediv__(self, name: str) -> "Bucket":
        return Bucket(self.bucket, self._key(name))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def name(self) -> str:
        return self.prefix.rpartition("/")[2] or self.bucket

    @property
    def parent(self) -> "Bucket":
        return Bucket(self.bucket, self.prefix.rpartition("/")[0])

    def knock(self) -> None:
        self._ask(lambda s3: s3.list_objects_v2(Bucket=self.bucket, MaxKeys=1), _KNOCK_SECONDS)

    def require_writable(self) -> None:
        key = self._key("probe")
        self._ask(lambda s3: s3.put_object(Bucket=self.bucket, Key=key, Body=b""), _KNOCK_SECONDS)
        self._ask(lambda s3: s3.delete_object(Bucket=self.bucket, Key=key))

    def exists(self, name: str = "") -> bool:
        return bool(self._head(name)) or next(self._below(name, most=1), None) is not None

    def names(self) -> list[str]:
        prefix = self._key("") and f"{self._key('')}/"

        def listed(s3: Any) -> list[str]:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
            found = [(page.get("Contents", ()), page.get("CommonPrefixes", ())) for page in pages]
            files = [item["Key"] for contents, _ in found for item in contents]
            return files + [item["Prefix"].rstrip("/") for _, folders in found for item in folders]

        return sorted(key.removeprefix(prefix) for key in self._ask(listed))

    def size(self) -> int:
        return sum(size for _, size in self._below(""))

    def read(self, name: str, start: int = 0) -> bytes:
        try:
            return self._get(self._key(name), start)
        except FileNotFoundError:
            parts, found = list(self._below(name)), []
            if not parts:
                raise FileNotFoundError(f"{self / name}") from None
        for key, size in parts:
            if start < size:
                found.append(self._get(key, start))
            start = max(0, start - size)
        return b"".join(found)

    def now(self) -> float:
        return _when(self._ask(lambda s3: s3.list_objects_v2(Bucket=self.bucket, MaxKeys=1)))

    def written_at(self, name: str) -> float:
        found = self._ask(lambda s3: s3.head_object(Bucket=self.bucket, Key=self._key(name)))
        return float(found["LastModified"].timestamp())

    def write(self, name: str, content: bytes) -> None:
        self._put(self._key(name), content)

    def create(self, name: str, content: bytes) -> bool:
        try:
            self._put(self._key(name), content, IfNoneMatch="*")
        except FileExistsError:
            return self.read(name) == content  # ours: the answer was lost, and it was sent again
        return True

    def append(self, name: str, line: bytes) -> None:
        while True:
            *_, (key, size) = [(f"{self._key(name)}/000000", 0), *self._below(name)]
            if size >= _PART_BYTES:
                base, _, number = key.rpartition("/")
                key, size = f"{base}/{int(number) + 1:06d}", 0
            begun, version = self._versioned(key) if size else (b"", None)
            content = begun + line + b"\n"
            try:
                self._put(key, content, **({"IfMatch": version} if version else {"IfNoneMatch": "*"}))
            except FileExistsError:  # another one was faster, or the answer was lost, and it was sent again
                if not self._versioned(key)[0].startswith(content):
                    continue
            return

    def keep(self, path: Path, under: str = "") -> str:
        name = f"{under}/{path.name}" if under else path.name
        if path.stat().st_size < _SINGLE_BYTES:
            self._put(self._key(name), path.read_bytes())
        else:
            key, checked = self._key(name), {"ChecksumAlgorithm": "SHA256"}
            self._ask(lambda s3: s3.upload_file(str(path), self.bucket, key, ExtraArgs=checked))
        found = self._head(name)
        if not found or found["ContentLength"] != path.stat().st_size:
            raise YolabError(f"{self / name} is not what was sent there.")
        return name

    def copy(self, name: str, to: str) -> None:
        source = {"Bucket": self.bucket, "Key": self._key(name)}
        self._ask(lambda s3: s3.copy(source, self.bucket, self._key(to)))

    def local(self, name: str, scratch: Path) -> Path:
        target, base = scratch / PurePosixPath(name).name, self._key(name)
        keys = [base] if self._head(name) else [key for key, _ in self._below(name)]
        if not keys:
            raise FileNotFoundError(f"{self / name}")
        for key in keys:
            path = target / PurePosixPath(key).relative_to(base)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._ask(lambda s3, key=key, path=path: s3.download_file(self.bucket, key, str(path)))  # type: ignore[misc]
        return target

    def remove(self, name: str) -> None:
        for key in [self._key(name), *(key for key, _ in self._below(name))]:
            self._ask(lambda s3, key=key: s3.delete_object(Bucket=self.bucket, Key=key))  # type: ignore[misc]

    def for_arrow(self) -> tuple[str, Any]:
        from pyarrow.fs import S3FileSystem  # as boto3

        named = {"endpoint_override": "AWS_ENDPOINT_URL", "region": "AWS_DEFAULT_REGION"}
        server = {about: os.environ[name] for about, name in named.items() if name in os.environ}
        # it would write in the background, and say nothing of what failed
        return f"{self.bucket}/{self.prefix}", S3FileSystem(background_writes=False, **server)

    def leftovers(self) -> dict[str, int]:
        """Files that are sent in parts, of which some came; the server keeps, and charges for, them."""
        prefix, before = self._key("") and f"{self._key('')}/", self.now() - LEFT_SECONDS

        def listed(s3: Any) -> list[Any]:
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
            return [upload for page in pages for upload in page.get("Uploads", ())]

        found = {}
        for upload in self._ask(listed):
            if upload["Initiated"].timestamp() < before:
                named = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                parts = self._ask(lambda s3, named=named: s3.list_parts(Bucket=self.bucket, **named))  # type: ignore[misc]
                size = sum(part["Size"] for part in parts.get("Parts", ()))
                found[f"{upload['Key'].removeprefix(prefix)}?{upload['UploadId']}"] = size
        return found

    def remove_leftover(self, name: str) -> None:
        file, _, upload = name.rpartition("?")
        named = {"Bucket": self.bucket, "Key": self._key(file), "UploadId": upload}
        self._ask(lambda s3: s3.abort_multipart_upload(**named))

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)

    def _head(self, name: str) -> Any:
        """Return what is known of a file, None if there is none."""
        try:
            return self._ask(lambda s3: s3.head_object(Bucket=self.bucket, Key=self._key(name)))
        except FileNotFoundError:
            return None

    def _get(self, key: str, start: int) -> bytes:
        """Return a file from a byte on. Raises FileNotFoundError."""
        part = {"Range": f"bytes={start}-"} if start else {}
        try:
            return self._ask(lambda s3: s3.get_object(Bucket=self.bucket, Key=key, **part)["Body"].read())
        except EOFError:
            return b""

    def _versioned(self, key: str) -> tuple[bytes, str]:
        """Return a file, and what tells this version of it from all others. Raises FileNotFoundError."""

        def question(s3: Any) -> tuple[bytes, str]:
            answer = s3.get_object(Bucket=self.bucket, Key=key)
            return answer["Body"].read(), answer["ETag"]

        return self._ask(question)

    def _put(self, key: str, content: bytes, **condition: str) -> None:
        """Write a file. Raises FileExistsError if the condition forbids it."""
        about = {"Bucket": self.bucket, "Key": key, "ChecksumAlgorithm": "SHA256", **condition}
        self._ask(lambda s3: s3.put_object(Body=content, **about))

    def _below(self, name: str, most: int = 1000) -> Iterator[tuple[str, int]]:
        """Yield the keys and sizes of what is in a folder, in order."""
        prefix, after = self._key(name) and f"{self._key(name)}/", ""
        while True:
            asked = {"Prefix": prefix, "StartAfter": after, "MaxKeys": most}
            found = self._ask(lambda s3, asked=asked: s3.list_objects_v2(Bucket=self.bucket, **asked))  # type: ignore[misc]
            for item in found.get("Contents", ()):
                after = item["Key"]
                yield after, item["Size"]
            if not found["IsTruncated"]:
                return

    def _ask(self, question: Callable[[Any], Found], patience: float = _PATIENCE_SECONDS) -> Found:
        """Return what the server says, once it answers. Raises what will be no different the next time: UsageError if
        it may not be used, FileNotFoundError, FileExistsError where a condition forbids it, EOFError beyond an end;
        YolabError if it doesn't answer."""
        deadline, pause = time.monotonic() + patience, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return question(_client())
            except Exception as error:
                failure = self._temporary(error)
            if time.monotonic() + pause > deadline:
                raise YolabError(f"{self} can't be used: {failure}")
            if pause == _FIRST_PAUSE_SECONDS:
                logger.warning("%s is away (%s) It is asked again, for %.0f s.", self, failure, patience)
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _temporary(self, error: Exception) -> str:
        """Return what went wrong, if it may go well another time; else raise it."""
        from boto3.exceptions import Boto3Error
        from botocore import exceptions

        if isinstance(error, Boto3Error) and isinstance(error.__context__, Exception):  # of a file sent in parts
            return self._temporary(error.__context__)
        if isinstance(error, exceptions.ClientError):
            status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
            if status >= 500 or status in _TRY_AGAIN:
                return str(error)
            if status == 404 and code != "NoSuchBucket":
                raise FileNotFoundError(str(self)) from error
            if status == 412:
                raise FileExistsError(str(self)) from error
            if status == 416:
                raise EOFError from error
            raise UsageError(f"{self} can't be used: {error}") from error
        network = (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)
        if isinstance(error, (*network, ConnectionError, TimeoutError)):
            return str(error)
        if isinstance(error, exceptions.BotoCoreError):  # no keys, no region, a profile that isn't there
            raise UsageError(f"{self} can't be used: {error}") from error
        raise error


@functools.cache
def _client() -> Any:
    """Return what asks the server. Raises UsageError if that isn't installed."""
    try:
        import boto3  # half a second, which only who uses a bucket has to wait
        from botocore.config import Config
    except ModuleNotFoundError:
        raise UsageError("A bucket needs boto3, which isn't installed: pip install 'yolab[cluster]'.") from None
    once = {"total_max_attempts": 1}  # `_ask` is who tries again
    return boto3.session.Session().client("s3", config=Config(connect_timeout=5, read_timeout=60, retries=once))


def _when(answer: Any) -> float:
    """Return the server's time of an answer, in seconds since 1970."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
