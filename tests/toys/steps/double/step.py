"""The toy step double."""

from tests.toys.note import note
from understudy.runtime.shell import In, Out, Result
from understudy.task.settings import overrides_for


def run(card: In, numbers: In, doubled: Out, store: str, times: int = 1, overrides: str = "") -> Result:
    """Double the numbers."""
    note("double")
    factor = int(overrides_for("double", overrides).get("factor", 2)) * times
    doubled.mkdir()
    made = [factor * int(number) for number in (numbers / "numbers.txt").read_text().split()]
    (doubled / "numbers.txt").write_text(" ".join(map(str, made)))
    return Result(headline=f"x{factor}: {made}", metrics={"sum": sum(made)})
