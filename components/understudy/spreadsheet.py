"""Cells that a spreadsheet shows as text and never runs as a formula; `raw_cell` takes the protection off again."""

import re

# What spreadsheets take for the start of a formula, the full-width signs of East Asian keyboards included.
FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def safe_cell(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run, or that `raw_cell` would take for protected.

    >>> safe_cell("=1+1"), safe_cell("'=1+1"), safe_cell("1+1"), safe_cell("'tis")
    ("'=1+1", "''=1+1", '1+1', "'tis")

    Source: OWASP, "CSV Injection".
    """
    return f"'{text}" if FORMULA.match(text) else text


def raw_cell(cell: str) -> str:
    """Return the text that `safe_cell` was given.

    >>> raw_cell("'=1+1"), raw_cell("''=1+1"), raw_cell("1+1"), raw_cell("'tis")
    ('=1+1', "'=1+1", '1+1', "'tis")
    """
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
