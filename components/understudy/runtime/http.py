"""Send a request to another server: bounded in time, again while what is wrong may pass, and to no other host."""

import http.client
import ssl
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from understudy.errors import UnderstudyError
from understudy.runtime.retry import BUSY, Patience, patiently

TIMEOUT_S = 10
MOST_BYTES = 8 << 20  # of an answer


class Unsent(UnderstudyError):
    """A request got no answer that can be used.

    Attributes:
        status: of the answer; None when there was none.
    """

    def __init__(self, status: int | None, words: str) -> None:
        self.status = status
        super().__init__(words)


def send(request: Request, patience: Patience) -> bytes:
    """Send a request that may come twice, and return the body of its answer.

    A redirect is not followed: what is sent, and the key with it, is for this one host.

    Raises:
        Unsent: there was no answer, or one that is an error.
    """
    opener = build_opener(_NoRedirects)

    def sent() -> bytes:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            body: bytes = answer.read(MOST_BYTES)
            return body

    try:
        return patiently(sent, _is_passing, patience)
    except HTTPError as error:
        with error:
            raise Unsent(error.code, f"status {error.code}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unsent(None, type(error).__name__) from error


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Take a redirect for the answer that it is."""


def _is_passing(error: Exception) -> bool:
    """Tell whether the server may take the same request later."""
    if isinstance(error, HTTPError):
        return error.code in BUSY
    if isinstance(error, URLError) and isinstance(error.reason, ssl.SSLCertVerificationError):
        return False
    return isinstance(error, OSError | http.client.HTTPException) and not isinstance(error, http.client.InvalidURL)
