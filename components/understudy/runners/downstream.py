"""Plan a step of a run and all that follows from it again: its pipeline cut to these, with new settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from understudy.errors import BadInput, BadSetting
from understudy.pipelines.compile import PIPELINES, pipeline_spec
from understudy.runners import checks
from understudy.runners.cut import Address, Cut, Returned, cut
from understudy.runners.overrides import merged, with_sections
from understudy.runners.runs import Record
from understudy.task.settings import Overrides, reads
from understudy.task.steps import STEPS


@dataclass(frozen=True, slots=True)
class Downstream:
    """A run that is to be made again from a step on, here or on a cluster.

    Attributes:
        first: what the run before was given.
        cut: the pipeline from that step on, and which steps are made anew and kept.
        arguments: of the pipeline, with the new settings.
    """

    first: Record
    cut: Cut
    arguments: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """Say what is made anew and what is kept, before anything is."""
        yield f"Made anew: {', '.join(self.cut.anew)}."
        yield f"Kept from '{self.first.name}': {', '.join(self.cut.kept) or 'nothing'}."


def plan(first: Record, step: str, overrides: str, places: Address, returned: Returned) -> Downstream:
    """Plan a step of a run and all that follows from it.

    Args:
        first: what the run was given.
        step: where to begin.
        overrides: step.key=value lines on top of those of the first run; a key without a step is the first step's.
        places: addresses of the run's artifacts, by step and output.
        returned: what the run's tasks have returned, as far as it is known.

    Raises:
        BadInput: the pipeline has no such step, or something that is to be kept is not there.
        BadSetting: a setting is of a step that is kept, unknown, or breaks a rule.
    """
    if first.pipeline not in PIPELINES:
        raise BadInput(f"A run that is made again must be of {', '.join(PIPELINES)}, got {first.pipeline} (RUN).")
    part = cut(pipeline_spec(first.pipeline), step, places, returned, STEPS)
    changes = Overrides.parse(overrides, step)
    if unread := [key for key in changes.values if not any(reads(name, key) for name in part.anew)]:
        raise BadSetting(
            f"A setting must be of a step that is made anew, got '{unread[0]}' (--set). Begin with that step (--from)."
        )
    lines = with_sections(merged(step, first.arguments.get("overrides", ""), overrides), step)
    snapshots = (place for (_, output), place in places.items() if output == "snapshot" and "://" not in place)
    checks.check_settings(lines, checks.check_card(next(snapshots, first.arguments["card"])))
    return Downstream(first, part, {**first.arguments, "overrides": lines})
