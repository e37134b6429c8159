"""A store under `s3://bucket/prefix`, by conditional writes, and the proof that a server keeps their conditions.

Credentials, endpoint and region come from boto3's own environment variables and files.
"""

import io
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from understudy.errors import BadInput, StorageError
from understudy.store import codecs, layout
from understudy.store.base import Beaten, Store, Tagged, buffered, contend, too_short
from understudy.store.faults import ABSENT_CODES, explain_answer, explain_connection
from understudy.store.reading import Changed, ObjectStream, Rest

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.loaders import Loader
    from mypy_boto3_s3 import S3Client

MARKER = layout.MARKER.key()
CONFLICT_CODES = {"ConditionalRequestConflict", "409"}  # AWS: another writer was at the key; nothing was written
LOST_CODES = {"PreconditionFailed", "412"} | ABSENT_CODES
BEYOND_CODES = {"InvalidRange", "416", "RequestedRangeNotSatisfiable"}
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
CONFLICT_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
LIST_PAUSES_S = (0.1, 0.2, 0.4, 0.8)
NO_TAG = '"00000000000000000000000000000000"'
PROVEN = "conditional_writes"  # in the marker: the server was seen to keep both conditions
READ_TIMEOUT_S = 60
ATTEMPTS = 7  # with botocore's pauses some 30 s on average: a name that is not found for a moment ends no night


class _Cut(Exception):
    """An answer ended before it said whether it was whole."""


class S3Store(Store):
    """A store under `s3://bucket/prefix`, by conditional writes (If-None-Match, If-Match)."""

    settle_s = 0.5

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.uri = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self._client = s3_client()

    def open(self, key: str, offset: int = 0) -> BinaryIO:
        """Open an object as a stream, from a byte on: it comes whole, or reading it is a StorageError."""
        opened = self._stream(key, offset)
        if opened is None:
            raise self._absent(key)
        return buffered(opened[0])

    def tag_of(self, key: str) -> str | None:
        """Return the ETag."""
        found = self._head(key)
        return None if found is None else found[0]

    def read_tagged(self, key: str) -> Tagged | None:
        """Read an object; its tag is the ETag."""
        opened = self._stream(key)
        if opened is None:
            return None
        with opened[0] as stream:
            return Tagged(stream.read(), opened[1])

    def _stream(self, key: str, offset: int = 0) -> tuple[ObjectStream, str] | None:
        """Ask for an object from a byte on; None when there is none."""
        first = self._get(key, offset)
        if first is None:
            return None
        rest, tag = first

        def again(reached: int) -> Rest:
            more = self._get(key, offset + reached, tag)
            if more is None or more[1] != tag:
                raise Changed(
                    f"An object must stay while it is read, got another one ({self.locate(key)}). Run it again."
                )
            return more[0]

        return ObjectStream(rest, again, self.locate(key)), tag

    def _get(self, key: str, offset: int, tag: str | None = None) -> tuple[Rest, str] | None:
        """Return what is left of an object from a byte on and its tag; None when there is none, or of another tag."""
        from botocore.exceptions import ClientError

        asked: dict[str, Any] = {"Range": f"bytes={offset}-"} if offset else {}
        asked |= {"IfMatch": tag} if tag else {}
        with self._translated(key):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=self._key(key), **asked)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in LOST_CODES:
                    return None
                if code in BEYOND_CODES:
                    return self._beyond(key, offset)
                raise
        return Rest(answer["Body"], self._size(answer, key, offset)), self._tag(answer, key)

    def _beyond(self, key: str, offset: int) -> tuple[Rest, str] | None:
        """Return the nothing that follows an object's last byte."""
        found = self._head(key)
        if found is not None and found[1] != offset:
            raise too_short(self.locate(key), offset, found[1])
        return None if found is None else (Rest(io.BytesIO(), 0), found[0])

    def _size(self, answer: Mapping[str, Any], key: str, offset: int) -> int:
        """Return how many bytes follow in an object from a byte on, by what the server says of its length."""
        if not offset:
            if size := answer.get("ContentLength"):
                return int(size)
            found = self._head(key)  # an empty body is not believed at once
            if found is None:
                raise Changed(f"An object must stay while it is read, got none ({self.locate(key)}). Run it again.")
            return found[1]
        span = CONTENT_RANGE.fullmatch(str(answer.get("ContentRange", "")))
        if span is None or int(span[1]) != offset:
            raise StorageError(
                f"The store's server must answer with the bytes that it is asked for, got another range than from "
                f"{offset:,} on ({self.locate(key)}). Use a server that knows ranges."
            )
        return int(span[2]) - offset

    def _head(self, key: str) -> tuple[str, int] | None:
        """Return an object's tag and length; None when there is none."""
        from botocore.exceptions import ClientError

        with self._translated(key):
            try:
                found = self._client.head_object(Bucket=self.bucket, Key=self._key(key))
            except ClientError as error:
                if error.response["Error"]["Code"] in ABSENT_CODES:
                    return None
                raise
        if "ContentLength" not in found:
            raise StorageError(f"The store's server must tell an object's length, got none ({self.locate(key)}).")
        return self._tag(found, key), int(found["ContentLength"])

    def _tag(self, answer: Mapping[str, Any], key: str) -> str:
        if not answer.get("ETag"):
            raise StorageError(f"The store's server must give each object an ETag, got none ({self.locate(key)}).")
        return str(answer["ETag"])

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Put with If-None-Match."""
        return self._put(key, data, tag=None)

    def compare_and_swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put with If-Match, or If-None-Match when nothing should be there."""
        return self._put(key, data, tag)

    def list(self, prefix: str = "") -> list[str]:
        """List keys through the paginator, again where an answer was cut."""
        from botocore.parsers import ResponseParserError

        for pause_s in LIST_PAUSES_S:
            with self._translated(prefix):
                try:
                    return sorted(self._listed(prefix))
                except (ResponseParserError, _Cut):
                    time.sleep(pause_s)
        raise StorageError(f"A listing must come whole, got cut answers ({self.locate(prefix)}). Try again later.")

    def _listed(self, prefix: str) -> Iterator[str]:
        start = self._key("")
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
        for page in pages:
            if "IsTruncated" not in page:
                raise _Cut  # boto3 takes an answer without a body for one without keys
            yield from (item["Key"][len(start) :] for item in page.get("Contents", []))

    def delete(self, key: str) -> None:
        """Remove the object."""
        from botocore.exceptions import ClientError

        with self._translated(key):
            try:
                self._client.delete_object(Bucket=self.bucket, Key=self._key(key))
            except ClientError as error:
                if error.response["Error"]["Code"] not in ABSENT_CODES:
                    raise

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _put(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put under a condition, again while the server calls two writers at once a conflict and keeps neither."""
        from botocore.exceptions import ClientError

        may_stand = False  # a request of ours that was tried again met a conflict: with the first one, maybe
        with self._translated(key):
            for pause_s in CONFLICT_PAUSES_S:
                try:
                    self._put_once(key, data, tag)
                except ClientError as error:
                    code = error.response["Error"]["Code"]
                    may_stand = may_stand or bool(error.response["ResponseMetadata"].get("RetryAttempts"))
                    if code in CONFLICT_CODES:
                        time.sleep(pause_s)
                        continue
                    if code in LOST_CODES:
                        return may_stand and self._stands(key, data)
                    raise
                return True
        raise StorageError(f"The store must take a write, got conflicts alone ({self.locate(key)}). Try again later.")

    def _put_once(self, key: str, data: bytes, tag: str | None) -> None:
        if tag is None:
            self._client.put_object(Bucket=self.bucket, Key=self._key(key), Body=data, IfNoneMatch="*")
        else:
            self._client.put_object(Bucket=self.bucket, Key=self._key(key), Body=data, IfMatch=tag)

    def _stands(self, key: str, data: bytes) -> bool:
        """Tell a write of ours, whose answer was lost and which boto3 then tried again, from a lost race."""
        found = self.read_tagged(key)
        return found is not None and found.data == data

    def _redirected(self, key: str) -> BadInput:
        """Return the error of a server that answers with redirects alone, which boto3 follows without end."""
        return BadInput(
            f"The store's server must answer, got redirects alone ({self.locate(key)}). Mend the address or region."
        )

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn the errors of boto3 and of what it is built on into one sentence each."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as error:
            if error.response["Error"]["Code"] in ABSENT_CODES:
                raise self._absent(key) from error
            raise explain_answer(error, self.bucket, self.locate(key)) from error
        except RecursionError as error:
            raise self._redirected(key) from error
        except BotoCoreError as error:
            if isinstance(error.kwargs.get("error"), RecursionError):
                raise self._redirected(key) from error
            raise explain_connection(error, self.locate(key)) from error
        except (ResponseParserError, HTTPError, OSError) as error:
            raise StorageError(f"The store must answer, got {error} ({self.locate(key)}). Try again later.") from error
        except ValueError as error:  # a key or tag that no header or URL can hold
            raise BadInput(f"A key must be one that S3 takes, got {error} ({self.locate(key)!r}). Mend it.") from error


def s3_client() -> "S3Client":
    """Return a boto3 client; path-style addresses when an endpoint is set, as every S3 work-alike understands them.

    Raises:
        BadInput: the endpoint, the region or another of boto3's settings cannot be.
    """
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    from understudy.secrets.keys import require_no_user

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    advice = "Put the keys into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    require_no_user(endpoint or "", "The address of S3", "AWS_ENDPOINT_URL", advice, has_path=False)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        config = Config(
            s3={"addressing_style": "path" if endpoint else "auto"},
            retries={"mode": "standard", "max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS") or ATTEMPTS) - 1},
            connect_timeout=10,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=32,
        )
        # boto3's default session keeps the first keys it saw: rotated ones would fail
        core = botocore.session.get_session()
        definitions = _definitions(core.get_config_variable("data_path"))
        core.register_component("data_loader", definitions)
        session = boto3.session.Session(botocore_session=core, **_keys())
        definitions.search_paths.pop()  # of boto3's own, which each session adds and no client reads
        client = session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
        _hide_keys(session)
    except (ValueError, BotoCoreError) as error:
        raise BadInput(
            f"The settings of S3 must be ones that boto3 takes, got {error} (environment). Mend AWS_ENDPOINT_URL, "
            "AWS_REGION or AWS_PROFILE."
        ) from error
    return client


@cache
def _definitions(folders: str | None) -> "Loader":
    """Return botocore's definitions of S3, read once: a client is made in 7 ms in place of 100.

    Args:
        folders: where else they may lie, as boto3's setting data_path says.
    """
    from botocore.loaders import create_loader

    return create_loader(folders)


def _keys() -> dict[str, Any]:
    """Return the keys of the environment, checked before botocore would name them in an error of its own."""
    from understudy.secrets.keys import read_secret, require_plain

    key_id = require_plain(os.environ.get("AWS_ACCESS_KEY_ID", ""), "AWS_ACCESS_KEY_ID")
    key, token = read_secret("AWS_SECRET_ACCESS_KEY"), read_secret("AWS_SESSION_TOKEN")
    if not key_id or not key:
        return {}  # a profile, a mounted file or the machine's own role, as boto3 finds them
    return {"aws_access_key_id": key_id, "aws_secret_access_key": key, "aws_session_token": token}


def _hide_keys(session: "Session") -> None:
    """Check and hide the keys that boto3 found in its files; those that it fetches are renewed without being shown."""
    from botocore.credentials import RefreshableCredentials

    from understudy.secrets.keys import checked, require_plain

    found = session.get_credentials()
    if found is None or isinstance(found, RefreshableCredentials):
        return
    where = "the credentials that boto3 found"
    require_plain(found.access_key, where)
    checked(found.secret_key, where)
    checked(found.token or "", where)


def prove(store: S3Store) -> None:
    """Prove that a server keeps If-None-Match and If-Match; the marker says that it did, so If-Match is proven once.

    Every write of the proof leaves a marker that is sound, whoever else proves at the same time, and whatever the
    server makes of its conditions.
    """
    found = store.read_tagged(MARKER)
    if found is None:
        store.put_if_absent(MARKER, new_marker(is_proven=False))
    if store.put_if_absent(MARKER, new_marker(is_proven=False)):
        raise _unconditional(store, "If-None-Match", "an object that was there was replaced")
    if found is not None and _is_proven(found.data):
        return

    def prove_swap() -> None:
        found = store.read_tagged(MARKER)
        if found is not None and _is_proven(found.data):  # whoever came at the same time has proven it
            return
        if store.compare_and_swap(MARKER, new_marker(is_proven=False), NO_TAG):
            raise _unconditional(store, "If-Match", "an object of another ETag was replaced")
        if found is None or not store.compare_and_swap(MARKER, new_marker(is_proven=True), found.tag):
            raise Beaten

    contend(prove_swap, "The store's marker", store.locate(MARKER))


def new_marker(*, is_proven: bool) -> bytes:
    """Write a marker; no two are the same, so that a write of ours is told from another's."""
    return codecs.as_lines([{"format": 1, PROVEN: is_proven, "written": uuid.uuid4().hex}])


def _is_proven(marker: bytes) -> bool:
    try:
        said = json.loads(marker)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get(PROVEN) is True


def _unconditional(store: Store, header: str, got: str) -> BadInput:
    return BadInput(
        f"The store's server must keep the condition {header} of a write, or two writers lose each other's work: {got} "
        f"({store.locate(MARKER)}). Use a server that keeps it (AWS S3, MinIO, Ceph, versitygw), or a folder."
    )
