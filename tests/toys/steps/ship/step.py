"""The toy step ship."""

from tests.toys.note import note
from understudy.runtime.shell import In, Out, Result


def run(evaluation: In, page: In, store: str, release: Out, overrides: str = "") -> Result:
    """Copy the sum."""
    note("ship")
    release.mkdir()
    (release / "sum.txt").write_bytes((evaluation / "sum.txt").read_bytes())
    return Result(headline=f"shipped to {store}, {len(page.read_text())} characters")
