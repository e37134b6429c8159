"""Parse addresses of data: a path on this machine, or `s3://bucket/key`; the one place that does.

An S3 key may hold any character, `#`, `?` and `%` too: nothing is cut off and nothing is unquoted. A `file://` address
is a URL, so its path is unquoted.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from understudy.errors import BadInput

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
LONGEST_PATH, LONGEST_NAME = 4096, 255  # Linux: bytes of a path, and of one name in it
LONGEST_KEY = 1024  # S3: bytes of a key


@dataclass(frozen=True, slots=True)
class Address:
    """Where something lies.

    Attributes:
        bucket: of S3; empty for a path on this machine.
        key: the key in the bucket, without slashes at its end; empty for a path on this machine.
        path: on this machine; None on S3.
    """

    bucket: str
    key: str
    path: Path | None

    @property
    def is_s3(self) -> bool:
        """Whether it lies on S3."""
        return self.path is None


def parse_address(text: str, option: str = "the address") -> Address:
    """Take an address apart.

    Args:
        text: a path, a `file://` address, or `s3://bucket/key`.
        option: what it was given as, in messages.

    Raises:
        BadInput: it is empty, too long, of another scheme, names no bucket, holds a NUL or a password, or its key
            begins with a slash: `s3://b//x` is another object than `s3://b/x`, and few tools know it.

    >>> parse_address("s3://bucket/a#b?c/").key
    'a#b?c'
    >>> parse_address("file:///data/day%201.csv").path
    PosixPath('/data/day 1.csv')
    """
    found = SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    _require_sound(text, scheme, option)
    if scheme == "s3":
        bucket, _, key = text[len("s3://") :].partition("/")
        return _on_s3(text, bucket, key.rstrip("/"), option)
    if scheme == "file":
        parts = urlsplit(text.replace("?", "%3F").replace("#", "%23"))
        if parts.netloc not in {"", "localhost"}:
            raise BadInput(
                f"A file:// address must name no host, got '{parts.hostname}' ({option}). Write file:///path."
            )
        return _local(unquote(parts.path, errors="surrogateescape"), option)
    return _local(text, option)


def _require_sound(text: str, scheme: str, option: str) -> None:
    if not text.strip():
        raise BadInput(
            f"An address must name a file, a folder or s3://bucket/key, got an empty one ({option}). "
            "Check that the variable is set; '.' names the current folder."
        )
    if any(sign in text for sign in "\0\r\n"):
        raise BadInput(f"An address must be one line of text, got a NUL or a line break in it ({option}). Mend it.")
    if scheme not in {"", "s3", "file"}:
        raise BadInput(
            f"An address must be a path or s3://bucket/key, got one that begins with '{scheme[:20]}://' ({option}). "
            "Mend the address."
        )
    if not scheme and text.lower().startswith("s3:"):
        raise BadInput(f"An address on S3 must begin with s3://, got '{text[:20]}' ({option}). Write s3://bucket/key.")


def _on_s3(text: str, bucket: str, key: str, option: str) -> Address:
    if "@" in bucket:
        raise BadInput(
            f"An address on S3 must hold no access key, got one before the bucket ({option}). Put it into "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if not bucket:
        raise BadInput(f"An address on S3 must name a bucket, got '{text}' ({option}). Write s3://bucket/key.")
    if key.startswith("/"):
        raise BadInput(
            f"A key on S3 must not begin with a slash, got '{key[:40]}' ({option}). Write s3://bucket/key with one "
            "slash, and rename an object whose key begins with one."
        )
    if any("\ud800" <= sign <= "\udfff" for sign in bucket + key):
        raise BadInput(f"A key on S3 must be UTF-8, got {key[:40]!r} ({option}). Write it in UTF-8.")
    if len(key.encode()) > LONGEST_KEY:
        raise BadInput(f"A key on S3 must be at most {LONGEST_KEY:,} bytes long, got '{key[:40]}...' ({option}).")
    return Address(bucket, key, None)


def _local(path: str, option: str) -> Address:
    if not path or "\0" in path:
        raise BadInput(f"A path must name a file or folder, got {path[:40]!r} ({option}). Mend the path.")
    longest = max(len(name.encode(errors="surrogateescape")) for name in path.split("/"))
    if len(path.encode(errors="surrogateescape")) >= LONGEST_PATH or longest > LONGEST_NAME:
        raise BadInput(
            f"A path must be shorter than {LONGEST_PATH:,} bytes and each name in it at most {LONGEST_NAME}, got "
            f"'{path[:40]}...' ({option}). Mend the path."
        )
    return Address("", "", Path(path))
