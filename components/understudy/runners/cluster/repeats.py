"""Decide which failed runs are entered again without a person, and which would only fail again.

The run of a night or a week may have further tries, named by `names.nth_try`. The next one is entered when the one
before has failed, until there are as many as were asked for. Tries are claimed like any other run, so two Jobs at once
enter one.

A step that finds what only a person can mend (exit code 2) puts it at `runs/<name>/fault.json`. A further run that
starts from the same is refused with that sentence before anything is created. What a run starts from is hashed when it
is claimed: the card, the arguments, the version, what lies at its sources, people's answers and the model that serves.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from understudy.errors import BadArtifact, BadInput
from understudy.review.origins import ANSWERED, SITTING
from understudy.runners.cluster import claims
from understudy.runners.cluster.api import Api
from understudy.runners.cluster.follow import state_of
from understudy.runners.names import nth_try
from understudy.runners.runs import Record
from understudy.store import layout, manifests, registry
from understudy.store.address import parse_address
from understudy.store.hashing import hash_json
from understudy.store.runs import FAULT, STARTED, SUBMITTED, fault_line, key_of, read
from understudy.store.storage import Store, open_store

FAILED = "FAILED"
MOST_DAYS = 7  # how far back a night is entered again
MOST_TAGGED = 200  # objects of a source whose change is seen; of the others, that they come and go
SOURCES = ("texts", "labels", "answers")
PEOPLES = (*ANSWERED, SITTING)  # names of answers of people; of labels files ingest keeps copies beside them
OF_THE_RUN = ("card", "record", "fault")  # arguments that name the run, or say what the card's hash says


@dataclass(frozen=True, slots=True)
class Try:
    """A run that is to be entered.

    Attributes:
        name: of the run.
        day: the night or day that it is of, YYYY-MM-DD.
    """

    name: str
    day: str


def name_to_enter(store: Store, api: Api, base: str, tries: int) -> str:
    """Return the name of the newest try of a night or week, or of the next one where that has failed.

    Args:
        store: where names are claimed.
        api: tells what became of a run.
        base: name of the first try.
        tries: most runs of the same night or week.
    """
    number = 1
    while number < tries and has_failed(store, api, nth_try(base, number)):
        number += 1
    return nth_try(base, number)


def has_failed(store: Store, api: Api, name: str) -> bool:
    """Tell whether a run was created at this API and has failed there; one that a person cancelled has not."""
    about = read(store, name, SUBMITTED)
    if about is None or about.get("host") != api.host:
        return False
    return state_of(api, store, name, str(about["run_id"])) == FAILED


def again(store: Store, api: Api, base: str, tries: int) -> Try | None:
    """Return the next try of a night or week that was begun; None where it has not failed, or has been tried enough.

    One that was claimed and never created is to be entered too.

    Args:
        store: where names are claimed.
        api: tells what became of a run.
        base: name of the first try.
        tries: most runs of the same night or week.
    """
    if read(store, base, STARTED) is None:
        return None
    name = name_to_enter(store, api, base, tries)
    if read(store, name, SUBMITTED) is not None:
        return None
    return Try(name, claims.claimed(store, base).arguments.get("date", ""))


def days_before(day: str) -> list[str]:
    """Return the days that are looked back on, the oldest first.

    >>> days_before("2026-11-08")[0], days_before("2026-11-08")[-1]
    ('2026-11-01', '2026-11-07')
    """
    last = date.fromisoformat(day)
    return [(last - timedelta(days=days)).isoformat() for days in range(MOST_DAYS, 0, -1)]


def _state_of_answers(store: Store, key: str, name: str) -> str:
    """Name a segment of answers, with what changes when it grows: a sitting of the review page does."""
    return f"{key}@{store.tag_of(key)}" if name == SITTING else key


def inputs_of(record: Record, store: Store) -> str:
    """Hash all that a run starts from, and nothing that a run itself puts into the store on its way."""
    given = {name: value for name, value in record.arguments.items() if name not in OF_THE_RUN}
    sources = [state_at(given[name].replace("{date}", given.get("date", ""))) for name in SOURCES if given.get(name)]
    is_quality = record.pipeline == "quality"
    said = [] if is_quality else layout.LABELS.listed(store, card=record.card)
    answers = [_state_of_answers(store, key, fields["name"]) for key, fields in said if fields["name"] in PEOPLES]
    begun = store.list(manifests.ORDER) if is_quality else []
    serving = store.tag_of(registry.CURRENT)
    return hash_json([record.card_hash, given, record.target.get("version"), sources, answers, begun, serving])


def state_at(address: str) -> list[tuple[str, str]]:
    """Return names and tags of the objects at an address on S3: they change when what lies there does."""
    place = parse_address(address)
    store = open_store(f"s3://{place.bucket}")
    keys = [key for key in store.list(place.key) if not place.key or key == place.key or key[len(place.key)] == "/"]
    return [(key, store.tag_of(key) or "" if number < MOST_TAGGED else "") for number, key in enumerate(reversed(keys))]


def require_mended(store: Store, record: Record) -> None:
    """Check that no run which started from the same has found what only a person can mend.

    Raises:
        BadInput: one has; with its own sentence.
    """
    wanted = (record.pipeline, record.card, record.inputs)
    names = {fields["run"] for _, fields in layout.RUNS.listed(store, name=FAULT)}
    for name in sorted(names - {record.name}, reverse=True):
        try:
            first = claims.claimed(store, name) if read(store, name, STARTED) is not None else None
        except BadArtifact:  # a damaged record keeps its own name from use, and nobody else's run
            continue
        if first is not None and (first.pipeline, first.card, first.inputs) == wanted:
            raise BadInput(
                f"A run must start from something else than one that ended with a fault of what it was given, got what "
                f"'{name}' was given, whose {fault_line(read(store, name, FAULT) or {})} "
                f"({store.locate(key_of(name, FAULT))}). Mend that; add --again where submit cannot see that it was."
            )
