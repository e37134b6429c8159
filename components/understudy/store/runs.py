"""Record runs: a few small objects a run, each written once.

runs/<name>/started.json      the claim: pipeline, card, arguments; whoever puts it owns the name
runs/<name>/creator.json      of a run on a cluster: who may create it now
runs/<name>/submitted.json    its id and address at the pipelines API
runs/<name>/decision.json     what evaluate decided, of a training run on a cluster
runs/<name>/fault.json        what a step found that only a person can mend, of a run on a cluster
runs/<name>/ended.json        how it ended, as far as somebody saw it
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict

from understudy.errors import BadArtifact
from understudy.secrets.keys import redact, redact_values
from understudy.store import codecs, layout
from understudy.store.names import CardName, RunName, require_name
from understudy.store.storage import Store
from understudy.text.numbers import clipped

STARTED, SUBMITTED, DECISION, ENDED = "started.json", "submitted.json", "decision.json", "ended.json"
FAULT = "fault.json"
NEEDED = ("pipeline", "card", "card_hash", "started", "artifacts")
FILES = (STARTED, SUBMITTED, DECISION, FAULT, ENDED)
PUBLISH = "publish"
LONGEST_FAULT = 1_000  # characters of a fault that are shown; our own sentences are shorter


class Record(TypedDict, total=False):
    """What any record of a run may say; the claim says all of NEEDED."""

    name: RunName
    pipeline: str
    card: CardName
    card_hash: str
    started: str
    artifacts: str
    begins_at: str
    arguments: dict[str, str]
    target: dict[str, str]
    run_id: str
    url: str
    state: str
    decision: str
    ended: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that the store tells of one run; what nobody wrote is empty."""

    name: str
    started: Mapping[str, Any]
    submitted: Mapping[str, Any] = field(default_factory=dict)
    decision: Mapping[str, Any] = field(default_factory=dict)
    fault: Mapping[str, Any] = field(default_factory=dict)
    ended: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """How the run ended, in a word or two."""
        state = self.ended.get("state", "SUCCEEDED" if self.ended else "")
        decision = {**self.ended, **self.decision}.get("decision", "")
        if state not in {"", "SUCCEEDED"}:
            return str(state).lower()
        if decision and self.started["pipeline"] == "training":
            return "published" if decision == PUBLISH else f"not published ({decision})"
        if state:
            return "done"
        return "submitted" if self.submitted else "begun"

    @property
    def fault_line(self) -> str:
        """What the run found that only a person can mend, as `fault_line` writes it; empty when there is none."""
        return fault_line(self.fault) if self.fault else ""

    @property
    def place(self) -> str:
        """Where the artifacts lie, or the page of the run where only the server knows."""
        return str(self.submitted.get("artifacts") or self.submitted.get("url") or self.started["artifacts"])


def key_of(name: str, file: str) -> str:
    """Return where the store keeps a run's record.

    Raises:
        BadArtifact: it is no name of a run.
    """
    return layout.RUNS.key(run=require_name("run", name, layout.RUNS.folder), name=file)


def read(store: Store, name: str, file: str) -> dict[str, Any] | None:
    """Read one record of a run; None when nobody has written it.

    Raises:
        BadArtifact: it is damaged.
    """
    key = key_of(name, file)
    found = store.read_tagged(key)
    if found is None:
        return None
    return codecs.read_mapping(found.data, store.locate(key), Record)


def put(store: Store, name: str, file: str, content: Mapping[str, Any]) -> bool:
    """Write one record of a run unless it is there; True when this call wrote it."""
    return store.put_if_absent(key_of(name, file), as_bytes(content))


def as_bytes(content: Mapping[str, Any]) -> bytes:
    """Write a record as it lies in the store."""
    return codecs.as_json(redact_values(content), is_ascii=False)


def fault_line(fault: Mapping[str, Any]) -> str:
    """Write what a step found that only a person can mend on one line: the store says it, so it is cut and redacted.

    >>> fault_line({"step": "shard", "message": "A row is broken."})
    'step shard said: A row is broken.'
    """
    step, message = (redact(" ".join(str(fault.get(part, "")).split())) for part in ("step", "message"))
    return f"step {clipped(step)} said: {clipped(message, LONGEST_FAULT)}"


def read_all(store: Store) -> list[Told]:
    """Read the records of all runs, the newest first."""
    files = defaultdict[str, set[str]](set)
    for _, fields in layout.RUNS.listed(store):
        files[fields["run"]].add(fields["name"])
    found = [_told(store, name, there) for name, there in files.items() if STARTED in there]
    return sorted(found, key=lambda told: (str(told.started["started"]), told.name), reverse=True)


def _told(store: Store, name: str, there: set[str]) -> Told:
    parts = {file.removesuffix(".json"): read(store, name, file) or {} for file in there & {*FILES}}
    if lacking := [key for key in NEEDED if key not in parts["started"]]:
        raise _damaged(store, key_of(name, STARTED), f"no {', '.join(lacking)}")
    return Told(name=name, **parts)


def lines(runs: Sequence[Told]) -> Iterator[str]:
    """Write runs for a person: what, when, with which card, how it ended, and where its artifacts lie.

    Below a run stands what it found that only a person can mend.
    """
    rows = [("name", "pipeline", "started", "card", "outcome", "artifacts")]
    for told in runs:
        card = f"{told.started['card']}@{str(told.started['card_hash'])[:12]}"
        rows.append((told.name, told.started["pipeline"], told.started["started"], card, told.outcome, told.place))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row, fault in zip(rows, ["", *(told.fault_line for told in runs)], strict=True):
        yield "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        if fault:
            yield f"    {fault}"


def _damaged(store: Store, key: str, why: str) -> BadArtifact:
    return BadArtifact(f"A run's record must be readable, got: {why} ({store.locate(key)}). Remove that object.")
