"""Keys and passwords: read from the environment or mounted files, checked, and never shown.

Every sink of text (standard error and output, logs, provenance, run records, reports, messages of Jobs) goes through
`redact`; it knows every secret that the environment holds, and any password inside an address.
"""

import base64
import os
import re
from pathlib import Path
from urllib.parse import quote

from understudy.errors import BadInput

HIDDEN = "***"
SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_FILE)?$|WEBHOOK", re.IGNORECASE)
SHORTEST = 6  # a shorter value would hide half of the words
USER_INFO = re.compile(r"([a-zA-Z][\w+.-]*://)[^\s/@'\"]+@|\b[^\s/@:'\"]+:[^\s/@'\"]+@(?=[\w.-]+(:\d+|/|\b))")


def read_secret(name: str) -> str | None:
    """Read a secret from the environment, or from the file that `<name>_FILE` names; stripped of blanks.

    Raises:
        BadInput: it holds a line break or another sign that no key has, or its file cannot be read. The value is not
            shown.
    """
    value, where = os.environ.get(name), name
    if value is None and (path := os.environ.get(f"{name}_FILE")):
        where = f"{name}_FILE"
        try:
            value = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            kind = type(error).__name__
            raise BadInput(f"The file of a key must be readable UTF-8, got {kind} ({where}). Mend its path.") from error
    value = (value or "").strip()
    if not all("!" <= sign <= "~" for sign in value):
        raise BadInput(
            f"A key must be printable ASCII without blanks or line breaks, got another sign inside ({where}; the value "
            "is not shown). Copy it again."
        )
    return value or None


def secrets() -> list[str]:
    """Return the secrets that the environment holds, in every form in which they are sent, the longest first."""
    plain = {value.strip() for name, value in os.environ.items() if SECRET_NAME.search(name) and value[:1] != "/"}
    forms = {form for value in plain if len(value) >= SHORTEST for form in _forms(value)}
    return sorted(forms, key=len, reverse=True)


def _forms(value: str) -> set[str]:
    encoded = base64.b64encode(value.encode(errors="surrogateescape")).decode().rstrip("=")
    return {value, quote(value, safe=""), encoded, *(part for part in value.split() if len(part) >= SHORTEST)}


def redact(text: str) -> str:
    """Hide every secret in a text: those of the environment, and user and password of any address.

    >>> redact("GET https://me:pass@host/v1 failed")
    'GET https://***@host/v1 failed'
    """
    for secret in secrets():
        text = text.replace(secret, HIDDEN)
    return USER_INFO.sub(lambda found: f"{found[1] or ''}{HIDDEN}@", text)
