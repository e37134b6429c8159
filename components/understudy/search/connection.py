"""Open Elasticsearch by its official client, with keys from the environment or mounted files; explain its answers.

The key goes to the address that is given here and to no other: nodes are not sniffed, redirects are not followed. Who
calls gives an address that the card or the environment of whoever runs names, never one that a store names. Over plain
http the key goes only because that address itself says http://.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import elastic_transport
import elasticsearch

from understudy.errors import BadInput, IndexFailed, UnderstudyError
from understudy.runtime.retry import BUSY
from understudy.secrets.keys import read_secret, redact, require_no_user

URL, API_KEY, API_KEY_FILE, CA_CERTS = (
    "ELASTICSEARCH_URL",
    "ELASTICSEARCH_API_KEY",
    "ELASTICSEARCH_API_KEY_FILE",
    "ELASTICSEARCH_CA_CERTS",
)
WRONG_MEDIA_TYPE = ("media_type_header_exception", "Invalid media-type value", "Accept version must be")
PASSING_TLS = ("EOF", "reset", "timed out")  # a handshake that was cut, where all others are a certificate's fault


def open_client(url: str, timeout_s: float) -> elasticsearch.Elasticsearch:
    """Open a client without asking the server anything; retries are the caller's.

    Raises:
        BadInput: the address cannot serve, or a mounted file is missing.
    """
    advice = f"Put an API key into {API_KEY} or {API_KEY_FILE}."
    require_no_user(url, "Elasticsearch's address", f"index.url or {URL}", advice)
    parts = _parts(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadInput(
            f"Elasticsearch's address must be http(s)://host:port, got '{redact(url)}' (index.url or {URL})."
        )
    is_secure, certificates = parts.scheme == "https", os.environ.get(CA_CERTS)
    if is_secure and certificates and not Path(certificates).is_file():
        raise BadInput(f"The file of trusted certificates must exist, got nothing at {certificates} ({CA_CERTS}).")
    address = url if parts.port else f"{url.rstrip('/')}:{443 if is_secure else 9200}"
    trusted = {"ca_certs": certificates} if is_secure and certificates else {}
    return elasticsearch.Elasticsearch(
        address,
        api_key=read_secret(API_KEY),
        sniff_on_start=False,
        sniff_before_requests=False,
        sniff_on_node_failure=False,
        request_timeout=timeout_s,
        max_retries=0,
        retry_on_timeout=False,
        connections_per_node=32,
        **trusted,  # type: ignore[arg-type]
    )


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn the client's errors into one sentence each, and answers that are not Elasticsearch's too."""
    try:
        yield
    except (elasticsearch.ApiError, elastic_transport.TransportError, elasticsearch.UnsupportedProductError) as error:
        raise explanation(url, error) from error
    except (LookupError, TypeError, ValueError) as error:
        raise IndexFailed(
            f"Elasticsearch must answer as version 9 does, got an answer that lacks {error!s:.100} ({url}). "
            "Check what stands before the server."
        ) from error


def is_busy(error: Exception) -> bool:
    """Whether the same request may succeed later: the server is busy, starting, or away for a moment."""
    if isinstance(error, elasticsearch.ApiError):
        return error.status_code in BUSY
    if isinstance(error, elastic_transport.TlsError):
        return any(sign in str(error) for sign in PASSING_TLS)
    return isinstance(error, elastic_transport.ConnectionError | elastic_transport.ConnectionTimeout)


def explanation(url: str, error: Exception) -> UnderstudyError:
    """Return the error of our own that says what is wrong."""
    status = error.status_code if isinstance(error, elasticsearch.ApiError) else None
    said = _said(error)
    if any(sign in str(error) for sign in WRONG_MEDIA_TYPE):
        return BadInput(
            f"The search server must be Elasticsearch 9, got an older one that does not know version 9's media type "
            f"({url}). Upgrade it, or leave index.url and {URL} empty: SQLite needs no server."
        )
    if isinstance(error, elasticsearch.UnsupportedProductError):
        return BadInput(f"The search server must be Elasticsearch 9, got another product ({url}). Mend the address.")
    if status is not None and (refusal := _refusal(url, status, said)):
        return BadInput(refusal)
    if isinstance(error, elastic_transport.TlsError):
        return BadInput(
            f"Elasticsearch's certificate must be trusted, got {said} ({url}). Put the path of its authority's "
            f"certificate into {CA_CERTS}."
        )
    return IndexFailed(f"Elasticsearch must answer, got {said} ({url}). What was sent is kept; run it again.")


def _refusal(url: str, status: int, said: str) -> str:
    """Return the sentence about a status that the same request meets again; "" for any other."""
    if 300 <= status < 400:
        return (
            f"Elasticsearch's address must be the server's own, got a redirect, {status} ({url}). It is not followed, "
            f"for the key would go with it: mend the address (index.url or {URL})."
        )
    if status == 401:
        got = "the key was refused" if read_secret(API_KEY) else "no key was given"
        return (
            f"Elasticsearch must accept the API key, got 401: {got} ({url}). Put a valid one into {API_KEY}, or its "
            f"file's path into {API_KEY_FILE}."
        )
    if status == 403:
        return (
            f"The API key must have the rights to the index, got 403: {said} ({url}). It needs manage_index_templates, "
            "and on understudy.*: create_index, manage, read and write."
        )
    return ""


def _said(error: Exception) -> str:
    """Write an error in at most 300 characters: a status with its reason, or the transport's words."""
    if isinstance(error, elasticsearch.ApiError):
        return redact(f"{error.status_code} {error!s}")[:300]
    return redact(str(error))[:300]


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadInput(
            f"Elasticsearch's address must be http(s)://host:port, got {error} (index.url or {URL}). Mend it."
        ) from error
    return parts
