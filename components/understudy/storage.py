"""One small interface over a folder or an S3 bucket: read, write, list, put if absent, compare and swap.

Objects are immutable: a growing thing is many objects, each put once. Only pointers change, by `compare_and_swap`.
S3 credentials, endpoint and region come from boto3's own environment variables and files.
"""

import fcntl
import hashlib
import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from understudy.errors import BadInput, StorageError

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

MARKER = "store.json"
ABSENT_CODES = {"NoSuchKey", "404", "NotFound"}
CONFLICT_CODES = {"ConditionalRequestConflict", "409"}  # AWS: another writer was at the key; nothing was written
LOST_CODES = {"PreconditionFailed", "412"} | ABSENT_CODES
CONFLICT_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
FORBIDDEN_CODES = {"AccessDenied", "403", "Forbidden", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken"}
FORBIDDEN_CODES |= {"InvalidToken", "XAdminUserNotFound"}  # the latter is versitygw's word for an unknown access key
UPDATE_ATTEMPTS = 20
ABSENT_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object's bytes with the tag that `compare_and_swap` takes."""

    data: bytes
    tag: str


class Store(ABC):
    """Objects by key ("a/b/c"), under one folder or one `s3://bucket/prefix`."""

    uri: str

    @abstractmethod
    def open(self, key: str, offset: int = 0) -> BinaryIO:
        """Open an object as a stream, from a byte on. Raises StorageError when there is none."""

    @abstractmethod
    def tag_of(self, key: str) -> str | None:
        """Return what changes when the object does, without reading it; None when there is none."""

    @abstractmethod
    def read_tagged(self, key: str) -> Tagged | None:
        """Read an object with its tag; None when there is none."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless the key is taken; True when this call wrote it."""

    @abstractmethod
    def compare_and_swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Replace the object that has this tag (None: no object yet); False when somebody else was first."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """List the keys that begin with `prefix`, sorted."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; no error when there is none."""

    def read(self, key: str) -> bytes:
        """Read an object whole. Raises StorageError when there is none."""
        found = self.read_tagged(key)
        if found is None:
            raise self._absent(key)
        return found.data

    def locate(self, key: str) -> str:
        """Return the full address of a key."""
        return f"{self.uri.rstrip('/')}/{key}"

    def _absent(self, key: str) -> StorageError:
        return StorageError(f"The object must exist, got nothing at {self.locate(key)}. Check the store's address.")


class FolderStore(Store):
    """A store in a local folder; writes are atomic by rename or link, swaps are serialised by a lock file."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.uri = str(self.root)

    def open(self, key: str, offset: int = 0) -> BinaryIO:
        """Open an object as a stream, from a byte on."""
        try:
            file = (self.root / key).open("rb")
            file.seek(offset)
        except ABSENT_ERRORS as error:
            raise self._absent(key) from error
        except OSError as error:
            raise self._unreadable(key, error) from error
        return file

    def tag_of(self, key: str) -> str | None:
        """Return size and time of change."""
        try:
            found = (self.root / key).stat()
        except ABSENT_ERRORS:
            return None
        return f"{found.st_size}-{found.st_mtime_ns}"

    def read_tagged(self, key: str) -> Tagged | None:
        """Read an object; its tag is the hash of its content."""
        try:
            data = (self.root / key).read_bytes()
        except ABSENT_ERRORS:
            return None
        except OSError as error:
            raise self._unreadable(key, error) from error
        return Tagged(data, hashlib.sha256(data).hexdigest())

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write beside, then link: the link fails when the key is taken."""
        with self._written_beside(key, data) as temporary:
            try:
                os.link(temporary, self.root / key)
            except FileExistsError:
                return False
        return True

    def compare_and_swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Compare and rename under a lock that ends with the process that holds it."""
        with self._locked(key):
            found = self.read_tagged(key)
            if (found.tag if found else None) != tag:
                return False
            with self._written_beside(key, data) as temporary:
                temporary.replace(self.root / key)
        return True

    def list(self, prefix: str = "") -> list[str]:
        """List keys, leaving out what is still being written and lock files."""
        start = self.root / prefix.rpartition("/")[0]
        files = (path for path in start.rglob("*") if path.is_file() and not path.name.startswith(".~"))
        return sorted(key for key in (str(path.relative_to(self.root)) for path in files) if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove the file."""
        (self.root / key).unlink(missing_ok=True)

    def _unreadable(self, key: str, error: OSError) -> StorageError:
        return StorageError(f"The object must be readable, got {error} ({self.locate(key)}). Check its rights.")

    def _unwritable(self, key: str, error: OSError) -> StorageError:
        return StorageError(
            f"The store must be writable, got {error} ({self.locate(key)}). "
            "Check its address, the folder's rights and the space that is left."
        )

    @contextmanager
    def _written_beside(self, key: str, data: bytes) -> Iterator[Path]:
        target = self.root / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".~", dir=target.parent)
        except OSError as error:
            raise self._unwritable(key, error) from error
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            yield temporary
        except OSError as error:
            raise self._unwritable(key, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        target = self.root / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = (target.parent / f".~{target.name}.lock").open("w")
        except OSError as error:
            raise self._unwritable(key, error) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class S3Store(Store):
    """A store under `s3://bucket/prefix`, by conditional writes (If-None-Match, If-Match)."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.uri = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self._client = s3_client()

    def open(self, key: str, offset: int = 0) -> BinaryIO:
        """Open an object as a stream, from a byte on."""
        with self._translated(key):
            if not offset:
                return cast("BinaryIO", self._client.get_object(Bucket=self.bucket, Key=self._key(key))["Body"])
            found = self._client.get_object(Bucket=self.bucket, Key=self._key(key), Range=f"bytes={offset}-")
            return cast("BinaryIO", found["Body"])

    def tag_of(self, key: str) -> str | None:
        """Return the ETag."""
        from botocore.exceptions import ClientError

        with self._translated(key):
            try:
                return self._client.head_object(Bucket=self.bucket, Key=self._key(key))["ETag"]
            except ClientError as error:
                if error.response["Error"]["Code"] in ABSENT_CODES:
                    return None
                raise

    def read_tagged(self, key: str) -> Tagged | None:
        """Read an object; its tag is the ETag."""
        from botocore.exceptions import ClientError

        with self._translated(key):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=self._key(key))
            except ClientError as error:
                if error.response["Error"]["Code"] in ABSENT_CODES:
                    return None
                raise
            return Tagged(answer["Body"].read(), answer["ETag"])

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Put with If-None-Match."""
        return self._put(key, data, tag=None)

    def compare_and_swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put with If-Match, or If-None-Match when nothing should be there."""
        return self._put(key, data, tag)

    def list(self, prefix: str = "") -> list[str]:
        """List keys through the paginator."""
        start = self._key("")
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
            return sorted(item["Key"][len(start) :] for page in pages for item in page.get("Contents", []))

    def delete(self, key: str) -> None:
        """Remove the object."""
        with self._translated(key):
            self._client.delete_object(Bucket=self.bucket, Key=self._key(key))

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _put(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put under a condition, again while the server calls two writers at once a conflict and keeps neither."""
        from botocore.exceptions import ClientError

        with self._translated(key):
            for pause_s in CONFLICT_PAUSES_S:
                try:
                    self._put_once(key, data, tag)
                except ClientError as error:
                    code = error.response["Error"]["Code"]
                    if code in CONFLICT_CODES:
                        time.sleep(pause_s)
                        continue
                    if code in LOST_CODES:
                        return self._was_ours(error, key, data)
                    raise
                return True
        raise StorageError(f"The store must take a write, got conflicts alone ({self.locate(key)}). Try again later.")

    def _put_once(self, key: str, data: bytes, tag: str | None) -> None:
        if tag is None:
            self._client.put_object(Bucket=self.bucket, Key=self._key(key), Body=data, IfNoneMatch="*")
        else:
            self._client.put_object(Bucket=self.bucket, Key=self._key(key), Body=data, IfMatch=tag)

    def _was_ours(self, error: "ClientError", key: str, data: bytes) -> bool:
        """Tell a lost race from a write of ours whose answer was lost and which boto3 then tried again."""
        if not error.response["ResponseMetadata"].get("RetryAttempts"):
            return False
        found = self.read_tagged(key)
        return found is not None and found.data == data

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn boto3's errors into one sentence each."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            EndpointConnectionError,
            NoCredentialsError,
            PartialCredentialsError,
        )

        try:
            yield
        except ClientError as error:
            raise self._explain(error.response["Error"]["Code"], key) from error
        except (NoCredentialsError, PartialCredentialsError, EndpointConnectionError) as error:
            kind = StorageError if isinstance(error, EndpointConnectionError) else BadInput
            raise kind(
                f"The store must be reachable, got {error} ({self.locate(key)}). "
                "Set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount the credentials."
            ) from error
        except BotoCoreError as error:
            raise StorageError(f"The store must answer, got {error} ({self.locate(key)}). Try again later.") from error

    def _explain(self, code: str, key: str) -> Exception:
        if code == "NoSuchBucket" or (code in ABSENT_CODES and key == MARKER):
            return BadInput(
                f"The bucket must exist, got no bucket '{self.bucket}' ({self.uri}). Create it or mend the address."
            )
        if code in FORBIDDEN_CODES:
            return BadInput(
                f"The bucket must be readable and writable, got '{code}' ({self.locate(key)}). "
                "Check the access key and its rights on the bucket."
            )
        if code in ABSENT_CODES:
            return self._absent(key)
        return StorageError(f"The store must answer, got '{code}' ({self.locate(key)}). Try again later.")


def s3_client() -> "S3Client":
    """Return a boto3 client; path-style addresses when an endpoint is set, as every S3 work-alike understands them.

    Raises:
        BadInput: the endpoint, the region or another of boto3's settings cannot be.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        s3={"addressing_style": "path" if endpoint else "auto"},
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=10,
        max_pool_connections=32,
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        # boto3's default session keeps the first keys it saw: rotated ones would fail
        session = boto3.session.Session(**_keys())
        client = session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
        _hide_keys(session)
    except (ValueError, BotoCoreError) as error:
        raise BadInput(
            f"The settings of S3 must be ones that boto3 takes, got {error} (environment). Mend AWS_ENDPOINT_URL, "
            "AWS_REGION or AWS_PROFILE."
        ) from error
    return client


def _keys() -> dict[str, Any]:
    """Return the keys of the environment, checked before botocore would name them in an error of its own."""
    from understudy.store.secrets import read_secret, require_plain

    key_id = require_plain(os.environ.get("AWS_ACCESS_KEY_ID", ""), "AWS_ACCESS_KEY_ID")
    key, token = read_secret("AWS_SECRET_ACCESS_KEY"), read_secret("AWS_SESSION_TOKEN")
    if not key_id or not key:
        return {}  # a profile, a mounted file or the machine's own role, as boto3 finds them
    return {"aws_access_key_id": key_id, "aws_secret_access_key": key, "aws_session_token": token}


def _hide_keys(session: "Session") -> None:
    """Check and hide the keys that boto3 found in its files; those that it fetches are renewed without being shown."""
    from botocore.credentials import RefreshableCredentials

    from understudy.store.secrets import checked, require_plain

    found = session.get_credentials()
    if found is None or isinstance(found, RefreshableCredentials):
        return
    where = "the credentials that boto3 found"
    require_plain(found.access_key, where)
    checked(found.secret_key, where)
    checked(found.token or "", where)


def open_store(uri: str) -> Store:
    """Open a store without touching it.

    Args:
        uri: a folder, or `s3://bucket/prefix`.

    Raises:
        BadInput: the address has another scheme, or names no bucket.
    """
    scheme, bucket, path, *_ = urlsplit(uri)
    if not uri or (scheme and scheme not in {"s3", "file"}):
        raise BadInput(f"A store must be a folder or s3://bucket/prefix, got '{uri}' (--store). Mend the address.")
    if scheme != "s3":
        return FolderStore(Path(path if scheme == "file" else uri))
    if not bucket:
        raise BadInput(f"A store on S3 must name a bucket, got '{uri}' (--store). Write s3://bucket/prefix.")
    return S3Store(bucket, path)


def prepare_store(uri: str) -> Store:
    """Open a store and prove that it can be written, before anything is spent on what goes into it.

    Raises:
        BadInput: the bucket is missing or forbidden, or the folder cannot be written.
        StorageError: the server is not there or out of order.
    """
    store = open_store(uri)
    try:
        store.put_if_absent(MARKER, b'{"format": 1}\n')
    except StorageError as error:
        if isinstance(store, FolderStore):
            raise BadInput(str(error)) from error
        raise
    return store


def update(store: Store, key: str, change: Callable[[bytes | None], bytes | None], what: str) -> None:
    """Renew an object from what it says now, again when another writer was first; None stands for no object.

    Args:
        store: holds it.
        key: where.
        change: returns what it is to say; what it says already, for nothing to be done.
        what: names it in an error.

    Raises:
        StorageError: others keep writing.
    """
    for _ in range(UPDATE_ATTEMPTS):
        found = store.read_tagged(key)
        before = found.data if found else None
        data = change(before)
        if data == before:
            return
        if data is None:
            store.delete(key)
            return
        if store.compare_and_swap(key, data, found.tag if found else None):
            return
    raise StorageError(f"{what} must be free to write, got others writing ({store.locate(key)}). Run it again.")


def split_uri(uri: str) -> tuple[Store, str]:
    """Split the address of one object into its store and key."""
    parent, _, name = uri.rstrip("/").rpartition("/")
    return open_store(parent or ("/" if uri.startswith("/") else ".")), name
