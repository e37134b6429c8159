"""Open Elasticsearch by its official client, with keys from the environment or mounted files; explain its answers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import elastic_transport
import elasticsearch

from understudy.errors import BadInput, IndexFailed, UnderstudyError

URL, API_KEY, API_KEY_FILE, CA_CERTS = (
    "ELASTICSEARCH_URL",
    "ELASTICSEARCH_API_KEY",
    "ELASTICSEARCH_API_KEY_FILE",
    "ELASTICSEARCH_CA_CERTS",
)
WRONG_MEDIA_TYPE = ("media_type_header_exception", "Invalid media-type value", "Accept version must be")
BUSY = frozenset({408, 429, 502, 503, 504})


def open_client(url: str, timeout_s: float) -> elasticsearch.Elasticsearch:
    """Open a client without asking the server anything; retries are the caller's.

    Raises:
        BadInput: the address cannot serve, or a mounted file is missing.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadInput(f"Elasticsearch's address must be http(s)://host:port, got '{url}' (index.url or {URL}).")
    if parts.username or parts.password:
        raise BadInput(
            f"Elasticsearch's address must hold no password, got one for {parts.hostname} (index.url or {URL}). "
            f"Put an API key into {API_KEY} or {API_KEY_FILE}."
        )
    is_secure, certificates = parts.scheme == "https", os.environ.get(CA_CERTS)
    if is_secure and certificates and not Path(certificates).is_file():
        raise BadInput(f"The file of trusted certificates must exist, got nothing at {certificates} ({CA_CERTS}).")
    address = url if parts.port else f"{url.rstrip('/')}:{443 if is_secure else 9200}"
    trusted = {"ca_certs": certificates} if is_secure and certificates else {}
    return elasticsearch.Elasticsearch(
        address,
        api_key=_api_key(),
        request_timeout=timeout_s,
        max_retries=0,
        retry_on_timeout=False,
        connections_per_node=32,
        **trusted,  # type: ignore[arg-type]
    )


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn the client's errors into one sentence each."""
    try:
        yield
    except (elasticsearch.ApiError, elastic_transport.TransportError, elasticsearch.UnsupportedProductError) as error:
        raise explanation(url, error) from error


def is_busy(error: Exception) -> bool:
    """Whether the same request may succeed later: the server is busy, starting, or away for a moment."""
    if isinstance(error, elasticsearch.ApiError):
        return error.status_code in BUSY
    return isinstance(error, elastic_transport.ConnectionError) and not isinstance(error, elastic_transport.TlsError)


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
    if status == 401:
        got = "the key was refused" if _api_key() else "no key was given"
        return BadInput(
            f"Elasticsearch must accept the API key, got 401: {got} ({url}). Put a valid one into {API_KEY}, or its "
            f"file's path into {API_KEY_FILE}."
        )
    if status == 403:
        return BadInput(
            f"The API key must have the rights to the index, got 403: {said} ({url}). It needs manage_index_templates, "
            "and on understudy.*: create_index, manage, read and write."
        )
    if isinstance(error, elastic_transport.TlsError):
        return BadInput(
            f"Elasticsearch's certificate must be trusted, got {said} ({url}). Put the path of its authority's "
            f"certificate into {CA_CERTS}."
        )
    return IndexFailed(f"Elasticsearch must answer, got {said} ({url}). What was sent is kept; run it again.")


def _said(error: Exception) -> str:
    """Write an error in at most 300 characters: a status with its reason, or the transport's words."""
    if isinstance(error, elasticsearch.ApiError):
        return f"{error.status_code} {error!s}"[:300]
    return str(error)[:300]


def _api_key() -> str | None:
    """Read the key anew for every client, so that a rotated one is found."""
    if key := os.environ.get(API_KEY):
        return key.strip()
    if not (path := os.environ.get(API_KEY_FILE)):
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The API key's file must be readable, got {error} ({API_KEY_FILE}).") from error
