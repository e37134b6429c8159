"""Read keys and passwords from the environment or mounted files, and redact them everywhere else.

Every sink of text goes through this module: standard error and output by `secrets.sinks`, records by `redact_values`. A
secret is known by its value, not by its looks: what the environment holds under a name such as OPENAI_API_KEY, what was
read from a mounted file, and the password in an address that was given. It is found in every form in which it travels.

What is hidden where it may hit a word by chance is weighed: a value shorter than `SHORTEST` protects nothing and is not
hidden, nor is a placeholder such as "none"; one of letters alone, of digits alone, or shorter than `EVERYWHERE` is
hidden where no letter or digit touches it.
"""

import base64
import html
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from understudy.errors import BadInput

HIDDEN = "***"
SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|CREDENTIALS?)$|WEBHOOK", re.IGNORECASE)
ADDRESS_NAME = re.compile(r"(URL|URL_S3|ENDPOINT|PROXY|HOST)$", re.IGNORECASE)
WORDS = ("rehearsal", "none", "null", "empty", "dummy", "unused", "test", "default", "true", "false", "ollama")
PLACEHOLDERS = frozenset({*WORDS, "lm-studio", "not-needed", "no-key-needed", "sk-no-key-required"})  # for no lock
SHORTEST, EVERYWHERE = 4, 8  # characters
HEAD = 12  # so much of a key is as good as the key to who finds it: a message that was cut may hold no more
LARGEST_FILE = 1 << 20  # bytes of a mounted key: a device or a data set named by mistake must not fill the memory
USER_INFO = re.compile(r"(://)[^\s/@'\"<>]{1,1024}@")
BARE_USER_INFO = re.compile(  # without a scheme, or with what Path leaves of one
    r"(?:(?<![^\s'\"(=,])|(?<=:/))(?!mailto:)[^\s/@:'\"(=,]{1,64}:[^\s/@'\"]{1,256}@(?=[\w\[])"
)
CREDENTIAL = re.compile(r"\b(Bearer +|ApiKey +|Basic +|AKIA|ASIA)(?=\S*\d)[\w.~+/=-]{12,}")
ESCAPED = re.compile(r"%[0-9A-F]{2}")
INNER = 20  # signs of a webhook's path that can be no word

_met: set[str] = set()  # what this process has read: a rotated key may still stand in a message of the old connection


def read_secret(name: str) -> str | None:
    """Read a secret from the environment, or from the file that `<name>_FILE` names; stripped of blanks.

    Raises:
        BadInput: it holds a line break or another sign that no key has, or its file cannot be read. The value is not
            shown.
    """
    value = os.environ.get(name, "").strip()
    if not value and (path := os.environ.get(f"{name}_FILE")):
        return read_secret_file(path, f"{name}_FILE")
    return checked(value, name)


def read_secret_file(path: str, where: str) -> str | None:
    """Read a secret from a mounted file, stripped of blanks; None when it is empty.

    Raises:
        BadInput: it cannot be read, is no key's size, or holds a sign that no key has.
    """
    try:
        found = Path(path).stat()
        is_small = stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST_FILE
        value = Path(path).read_text(encoding="utf-8") if is_small else None
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise BadInput(f"The file of a key must be readable UTF-8, got {kind} ({where}). Mend its path.") from error
    if value is None:
        raise BadInput(
            f"The file of a key must be a file of at most {LARGEST_FILE:,} bytes, got none of that kind ({where}). "
            "Mend its path."
        )
    return checked(value, where)


def checked(value: str, where: str) -> str | None:
    """Return a secret stripped of blanks, once it is one that can be sent; it is hidden from now on.

    Raises:
        BadInput: it holds a sign that no key has.
    """
    remember(value)
    return require_plain(value, where)


def require_plain(value: str, where: str) -> str | None:
    """Return a key or the name of one stripped of blanks, once it is one that can be sent; None when it is empty.

    Raises:
        BadInput: it holds a sign that no key has.
    """
    value = value.strip()
    if not all("!" <= sign <= "~" for sign in value):
        raise BadInput(
            f"A key must be printable ASCII without blanks or line breaks, got another sign inside ({where}; the value "
            "is not shown). Copy it again."
        )
    return value or None


def remember(*values: str | None) -> None:
    """Hide these values from now on, whatever becomes of their variables and files."""
    _met.update(value.strip() for value in values if value)


def secrets() -> list[str]:
    """Return what is hidden: every known secret in every form in which it is sent, the longest first."""
    return [form for form, _ in _forms_of(frozenset({*_met, *_environment()}))]


def redact(text: str) -> str:
    """Hide every secret in a text of the program's own: known values, and user and password of any address.

    >>> redact("GET https://me:pass@host/v1 failed")
    'GET https://***@host/v1 failed'
    """
    text = _replaced(text, frozenset({*_met, *_environment(), *_arguments()}))
    if "@" in text:
        text = BARE_USER_INFO.sub(f"{HIDDEN}@", USER_INFO.sub(rf"\g<1>{HIDDEN}@", text))
    return CREDENTIAL.sub(rf"\g<1>{HIDDEN}", text)


def hide(text: str) -> str:
    """Hide known secrets alone, in output that carries people's own texts."""
    return _replaced(text, frozenset({*_met, *_environment()}))


def redact_values(content: Any) -> Any:
    """Hide every secret in the texts of a record, keys and numbers apart."""
    if isinstance(content, str):
        return redact(content)
    if isinstance(content, Mapping):
        return {key: redact_values(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [redact_values(value) for value in content]
    return content


def has_password(text: str, *, is_address: bool = False) -> bool:
    """Tell whether a value is an address with a password in it; one without a scheme only where an address is meant.

    >>> has_password("https://me:pass@host"), has_password("mail:me@host")
    (True, False)
    >>> has_password("me:pass@host", is_address=True)
    True
    """
    found = text.strip()
    if "@" not in found or any(map(str.isspace, found)) or not ("://" in found or is_address):
        return False
    return bool(USER_INFO.search(found)) or any(True for _ in _passwords(found))


def require_no_user(address: str, what: str, where: str, advice: str, *, has_path: bool = True) -> None:
    """Refuse an address with a user or a password before its host; it is not shown.

    Args:
        address: of a server.
        what: is addressed, as the message begins.
        where: it was given.
        advice: where the key goes instead.
        has_path: whether it may have a path, and an @ in that.

    Raises:
        BadInput: it has one.
    """
    try:
        authority = urlsplit(address).netloc if has_path else address.partition("?")[0]
        _ = urlsplit(address).port  # an error where a password holds a slash
    except ValueError:
        authority = address
    if "@" in authority:
        raise BadInput(
            f"{what} must hold no user and no password, got one before the host ({where}; not shown). {advice}"
        )


def _environment() -> Iterator[str]:
    """Give the secrets that the environment holds now."""
    for name in os.environ:
        kind = _kind_of(name)
        if kind == "secret":
            yield from _webhook_parts(value) if "://" in (value := os.environ.get(name, "")) else [value.strip()]
        if kind == "address" and "@" in (value := os.environ.get(name, "")):
            yield from _passwords(value)


@lru_cache(maxsize=1024)
def _kind_of(name: str) -> str:
    if SECRET_NAME.search(name):
        return "secret"
    return "address" if ADDRESS_NAME.search(name) else ""


def _arguments() -> Iterator[str]:
    """Give the passwords in the addresses of the command line."""
    for argument in sys.argv[1:]:
        if "@" in argument:
            yield from _passwords(argument if "://" in argument.partition("=")[0] else argument.rpartition("=")[2])


def _passwords(address: str) -> Iterator[str]:
    """Give the password of an address, with or without a scheme; it may hold signs that no URL may.

    >>> list(_passwords("https://me:pa/ss@host:9200")), list(_passwords("s3://bucket/run:2@x"))
    (['pa/ss'], [])
    """
    rest = address.strip().rpartition("://")[2]
    user, sign, password = rest.rpartition("@")[0].partition(":")
    is_port = password.partition("/")[0].isdigit() and "/" in password
    if sign and "/" not in user and not is_port:
        yield password
    elif not sign and "/" not in user and len(user) >= EVERYWHERE and any(map(str.isdigit, user)):
        yield user  # https://token@host


def _webhook_parts(url: str) -> Iterator[str]:
    """Give the whole address, and what in it can be a token: libraries name host, path and query apart."""
    yield url.strip()
    yield from _passwords(url)
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return
    if len(parts.path) > 1:
        yield parts.path + (f"?{parts.query}" if parts.query else "")
    for part in re.split(r"[/?&=;]", f"{parts.path}?{parts.query}"):
        if len(part) >= INNER or (len(part) >= EVERYWHERE and any(map(str.isdigit, part))):
            yield part


def _replaced(text: str, values: frozenset[str]) -> str:
    for form, is_bounded in _forms_of(values):
        if form in text:
            text = _bounded(form).sub(HIDDEN, text) if is_bounded else text.replace(form, HIDDEN)
    for head in _heads_of(values):
        if head in text:
            text = re.sub(rf"{re.escape(head)}[\w./+=-]*", HIDDEN, text)
    return text


@lru_cache(maxsize=256)
def _bounded(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])")


@lru_cache(maxsize=64)
def _forms_of(values: frozenset[str]) -> tuple[tuple[str, bool], ...]:
    """Return every form of these secrets, the longest first, with whether it must stand alone to be hidden."""
    parts = {part for value in values for part in (value, *map(str.strip, value.splitlines())) if _is_secret(part)}
    forms = {form: _is_wordlike(value) for value in parts for form in _forms(value) if len(form) >= SHORTEST}
    return tuple(sorted(forms.items(), key=lambda pair: -len(pair[0])))


@lru_cache(maxsize=64)
def _heads_of(values: frozenset[str]) -> tuple[str, ...]:
    """Return the beginnings of the keys that are no words."""
    heads = {value[:HEAD] for value in values if len(value) > HEAD and _is_secret(value)}
    return tuple(head for head in heads if any(map(str.isdigit, head)) and any(map(str.isalpha, head)))


def _is_secret(value: str) -> bool:
    return len(value) >= SHORTEST and value.lower() not in PLACEHOLDERS


def _is_wordlike(value: str) -> bool:
    return len(value) < EVERYWHERE or value.isalpha() or value.isdigit()


def _forms(value: str) -> set[str]:
    """Return a secret as it is, as URLs, JSON, Python, HTML and base64 write it, and what it says in base64 itself."""
    data = value.encode(errors="surrogateescape")
    percent = {quote(data, safe=""), quote(data), quote_plus(data)}
    written = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    written |= {repr(data)[2:-1], html.escape(value), html.escape(value, quote=False), json.dumps(repr(value))[2:-2]}
    written |= {html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}  # as templates write quotes
    percent |= {ESCAPED.sub(lambda found: found[0].lower(), form) for form in percent}
    return {value, *percent, *written, *_base64_forms(data), *_inside(value)}


def _base64_forms(data: bytes) -> Iterable[str]:
    """Return what of a secret stays the same in base64, alone or after other bytes, as in `Basic` authorisation."""
    if len(data) < EVERYWHERE:
        return
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data)
        begin, end = (0, 2, 3)[before], len(data) + before
        inner = encoded[begin : end * 8 // 6].decode()
        yield from (inner, inner.replace("+", "-").replace("/", "_"))


def _inside(value: str) -> Iterable[str]:
    """Return the key in an API key of Elasticsearch, which is base64 of its id and itself."""
    try:
        _, sign, key = base64.b64decode(value, validate=True).decode("ascii").partition(":")
    except ValueError:
        return
    if sign and len(key) >= EVERYWHERE and key.isprintable():
        yield key
