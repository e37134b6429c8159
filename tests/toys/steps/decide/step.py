"""The toy step decide."""

from tests.toys.note import note
from understudy.runtime.shell import In, Out, Result
from understudy.task.settings import NO_OVERRIDES, Overrides


def run(doubled: In, evaluation: Out, page: Out, card: In | None = None, overrides: Overrides = NO_OVERRIDES) -> Result:
    """Publish when the sum is large enough."""
    note("decide")
    total = sum(map(int, (doubled / "numbers.txt").read_text().split()))
    evaluation.mkdir()
    (evaluation / "sum.txt").write_text(str(total))
    page.write_text(f"<!doctype html><title>sum</title>{total}")
    decision = "publish" if total >= 10 else "refuse"
    return Result(f"sum {total}", {"sum": total}, {"decision": decision, "reason": f"the sum is {total}"})
