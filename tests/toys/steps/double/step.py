"""The toy step double."""

from tests.toys.loop import leave
from tests.toys.note import note
from understudy.runtime.shell import In, Out, Result
from understudy.task.settings import NO_OVERRIDES, Overrides


def run(card: In, numbers: In, doubled: Out, store: str, times: int = 1, overrides: Overrides = NO_OVERRIDES) -> Result:
    """Double the numbers."""
    note("double")
    factor = int(overrides.of("double").get("factor", 2)) * times
    leave(store)
    doubled.mkdir()
    made = [factor * int(number) for number in (numbers / "numbers.txt").read_text().split()]
    (doubled / "numbers.txt").write_text(" ".join(map(str, made)))
    return Result(headline=f"x{factor}: {made}", metrics={"sum": sum(made)})
