"""Say where a model of the card is asked, and with which key: by the environment first, then by the card.

The teacher is at OPENAI_BASE_URL, else at teacher.base_url, else at OpenAI's. A role, such as the editor, is at
UNDERSTUDY_EDITOR_BASE_URL, else at OPENAI_BASE_URL, else at models.editor.base_url, else where the teacher is.

OPENAI_BASE_URL goes before the card's addresses, of whichever model: a rehearsal that it points at is asked by all of
them, and nobody pays by mistake. A role's own key is UNDERSTUDY_EDITOR_API_KEY; OPENAI_API_KEY is sent for it only to
where the teacher is asked, never to an address of the role's own.
"""

import os
from urllib.parse import urlsplit

from understudy.errors import BadInput
from understudy.secrets.keys import read_secret, redact, require_no_user
from understudy.task.card import Role, Teacher

DEFAULT_URL = "https://api.openai.com/v1"
SHARED_ADDRESS, SHARED_KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"


def who(role: str) -> str:
    """Name a model by what it does.

    >>> who(""), who("editor")
    ('teacher', 'editor')
    """
    return role or "teacher"


def section(role: str) -> str:
    """Return the part of the card that names a model.

    >>> section(""), section("editor")
    ('teacher', 'models.editor')
    """
    return f"models.{role}" if role else "teacher"


def address_variable(role: str) -> str:
    """Return the variable with a model's own address.

    >>> address_variable(""), address_variable("editor")
    ('OPENAI_BASE_URL', 'UNDERSTUDY_EDITOR_BASE_URL')
    """
    return f"UNDERSTUDY_{role.upper()}_BASE_URL" if role else SHARED_ADDRESS


def key_variable(role: str) -> str:
    """Return the variable with a model's own key.

    >>> key_variable(""), key_variable("editor")
    ('OPENAI_API_KEY', 'UNDERSTUDY_EDITOR_API_KEY')
    """
    return f"UNDERSTUDY_{role.upper()}_API_KEY" if role else SHARED_KEY


def remedy(role: str) -> str:
    """Name the places that decide a model's address.

    >>> remedy("")
    "OPENAI_BASE_URL or the card's teacher.base_url"
    """
    return f"{address_variable(role)} or the card's {section(role)}.base_url"


def url_of(model: Teacher) -> str:
    """Return the address of one of a card's models.

    Raises:
        BadInput: it is no address.
    """
    own = os.environ.get(address_variable(model.role))
    return _checked(own or os.environ.get(SHARED_ADDRESS) or model.base_url or DEFAULT_URL, model.role)


def key_of(model: Teacher, url: str, *, is_local: bool) -> str:
    """Return the key that a model's server is sent.

    Raises:
        BadInput: there is none, and the server is not on this machine.
    """
    own, role = key_variable(model.role), model.role
    key = read_secret(own) or (None if _stands_apart(model) else read_secret(SHARED_KEY))
    if not key and not is_local:
        raise BadInput(
            f"The {who(role)}'s key must be set, got none ({own}, for {url}). Set it, or rehearse first with "
            f"`understudy rehearse` and {SHARED_ADDRESS}."
        )
    return key or "no-key-needed"


def _stands_apart(model: Teacher) -> bool:
    """Whether a role is asked at an address that is its own, and not the teacher's."""
    if not isinstance(model, Role):
        return False
    by_card = model.has_own_address and not os.environ.get(SHARED_ADDRESS)
    return bool(os.environ.get(address_variable(model.role))) or by_card


def _checked(url: str, role: str) -> str:
    where, whose = f"{address_variable(role)} or {section(role)}.base_url", f"The {who(role)}'s address"
    require_no_user(url, whose, where, f"Put the key into {key_variable(role)}.")
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound:
        raise BadInput(f"{whose} must be http:// or https:// with a host, got '{redact(url)}' ({where}). Mend it.")
    return url.rstrip("/")
