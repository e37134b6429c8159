"""Guard spreadsheet cells against formulas; `raw_cell` takes the guard off again.

A spreadsheet may part a line by another sign than we wrote it with (a semicolon, a tab), so a formula may begin in the
middle of a cell too: after any sign that could part two cells, a quote or a line break.
"""

import re

# What spreadsheets take for the start of a formula, the full-width signs of East Asian keyboards included, blanks and
# our own apostrophes before it.
SIGN = r"[ '\u00a0\u3000]*[=+\-@\uff1d\uff0b\uff0d\uff20]"
PARTING = r";,|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029\""
START = rf"(?:(?<![\s\S])(?:'*[\t\r\n]|{SIGN})|(?<=[{PARTING}]){SIGN})"
UNGUARDED = re.compile(rf"(?={START})")
GUARD = re.compile(rf"(?={START})'(?={SIGN}|'*[\t\r\n])")


def safe_cell(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run, or what `raw_cell` would take for protected.

    >>> safe_cell("=1+1"), safe_cell("'=1+1"), safe_cell("1+1"), safe_cell("'tis"), safe_cell("a;=1+1")
    ("'=1+1", "''=1+1", '1+1', "'tis", "a;'=1+1")

    Source: OWASP, "CSV Injection".
    """
    return UNGUARDED.sub("'", text)


def raw_cell(cell: str) -> str:
    """Return the text that `safe_cell` was given.

    >>> raw_cell("'=1+1"), raw_cell("''=1+1"), raw_cell("1+1"), raw_cell("'tis"), raw_cell("a;'=1+1")
    ('=1+1', "'=1+1", '1+1', "'tis", 'a;=1+1')
    """
    return GUARD.sub("", cell)
