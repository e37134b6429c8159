"""Render a template over a record: every text escaped, a missing field an error.

HTML pages need no other file, no network and no script: style and figures lie in them. Markdown is escaped too, so that
a text brings in no tag, no picture and no cell of its own.
"""

import re
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec

from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

from understudy.errors import BadArtifact
from understudy.text import house, numbers

P = ParamSpec("P")
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
MARKDOWN_SIGNS = re.compile(r"([\\`*<&|\[])")
FILTERS: dict[str, Callable[..., str | bool]] = {
    "clip": numbers.clip,
    "count": numbers.count,
    "figure": numbers.figure,
    "figure_interval": numbers.figure_interval,
    "figure_told": numbers.figure_told,
    "first_stage": numbers.first_stage,
    "listed": numbers.listed,
    "milliseconds": numbers.milliseconds,
    "p_value_alone": numbers.p_value_alone,
    "signed": numbers.signed,
    "signed_interval": numbers.signed_interval,
    "percent": numbers.percent,
    "percent_interval": numbers.percent_interval,
    "percent_told": numbers.percent_told,
    "reasons": numbers.reasons,
    "tells": numbers.tells,
    "usd": numbers.usd,
    "went": house.went,
}


def from_record(build: Callable[P, str]) -> Callable[P, str]:
    """Let a page's builder say in a sentence that its record lacks something."""

    @wraps(build)
    def page(*arguments: P.args, **named: P.kwargs) -> str:
        try:
            return build(*arguments, **named)
        except (UndefinedError, KeyError) as error:
            raise BadArtifact(
                f"A record must hold all that its page shows, got one that lacks something: {error} "
                f"({build.__module__}). Run the step that made it again."
            ) from error

    return page


def render(template: str, **values: Any) -> str:
    """Write a page.

    Args:
        template: file in `templates/`; `.html.j2` or `.md.j2`.
        values: what the template shows.
    """
    write = _markdown if template.endswith(".md.j2") else clean
    return _environment(write).get_template(template).render(values)


@cache
def _environment(write: Callable[[Any], Any]) -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=write,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({**FILTERS, "code_line": code_line})
    return environment


def clean(value: Any) -> Any:
    r"""Replace what no page may hold: control characters and half characters.

    >>> clean("a\x07b") == "a\N{REPLACEMENT CHARACTER}b"
    True
    """
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def _markdown(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else escape_markdown(value)


def escape_markdown(text: str) -> Markup:
    r"""Write a text in one line of Markdown that shows it as it is, in a table's cell too.

    >>> str(escape_markdown("a|b\n\n# <b>"))
    'a\\|b # \\<b>'
    """
    flat = " ".join(str(clean(text)).split())
    return Markup(MARKDOWN_SIGNS.sub(r"\\\1", flat))  # noqa: S704 - this is the escaping


def code_line(text: str) -> Markup:
    r"""Write a line of code for Markdown, which shows it sign by sign: four blanks before it, and no break within.

    >>> str(code_line("a: '<b>'\n# c"))
    "    a: '<b>' # c"
    """
    return Markup("    " + " ".join(str(clean(text)).splitlines()))  # noqa: S704 - an indented line is no markup
