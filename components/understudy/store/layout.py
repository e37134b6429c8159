"""Name every family of keys in the store once: what it is, who owns it, how it is read, and when a text leaves it.

A key is made by its family (`SEGMENTS.key(day=..., ...)`) and taken apart by it (`SEGMENTS.fields(key)`), nowhere
else; `SEGMENTS.listed(store, day=...)` lists those of the family alone. Retention, erasure and the policies for S3 read
this table and have no list of their own; a family without a decision on both cannot be made.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from os.path import commonprefix
from string import Formatter

from understudy.store.base import Store
from understudy.store.names import CARD_NAME, DIGEST, RUN_NAME, VERSION
from understudy.task.card import Retention

DAYS = "{day}/"  # in a pattern: a folder a day
FIELDS: Mapping[str, str] = {
    "day": r"\d{4}-\d{2}-\d{2}",
    "version": VERSION,  # of a bundle
    "card": CARD_NAME,
    "run": RUN_NAME,
    "hash": DIGEST,
    "training": r"[0-9a-f]{16}",  # of all that decides its outcome
    "judge": r"[A-Za-z0-9._-]+",
    "queue": r"[^/]+",
    "index": r"[A-Za-z0-9_-]{1,64}",  # its own name, as Elasticsearch gives it
    "shard": "[0-9]",
    "segment": "[0-9]",
    "number": "[0-9]",
    "name": r"[^/]+",
    "path": r".+",
}
NUMBERS = {"shard", "segment", "number"}  # of such digits as many as the pattern's format asks for, or as it takes


class Erasure(Enum):
    """How a text leaves an object when somebody asks to forget it."""

    ROWS = "its rows leave the table"
    LINES = "its lines leave the JSON lines"
    CELLS = "its rows leave the CSV"
    ITEMS = "its items leave the JSON"
    BLANKED = "what its answers say is blanked, what they cost stays"
    ORDERS = "its requests name the text no more, and what is answered is not kept"
    WORDS = "its words leave those that came up"
    RECOUNTED = "it says again what its segments hold"
    MADE_AGAIN = "it is made again from what it shows"


@dataclass(frozen=True, slots=True)
class Stays:
    """The decision that nothing of an object goes.

    Attributes:
        why: in a few words, for whoever asks.
    """

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Keys of one kind.

    Attributes:
        pattern: the key, with names of `FIELDS` in braces.
        what: it is.
        owner: folder of the package whose code writes it.
        reader: the function that reads and checks it.
        retention: name of the card's setting that says how many days it stays, counted by the key's `day`.
        erasure: how a text leaves it.

    Raises:
        ValueError: the card has no such setting, the key has no day to count by, or a decision has no reason.
    """

    pattern: str
    what: str
    owner: str
    reader: str
    retention: str | Stays
    erasure: Erasure | Stays

    def __post_init__(self) -> None:
        """Check the decisions."""
        if isinstance(self.retention, str):
            if self.retention not in Retention.model_fields:
                raise ValueError(f"A family's retention must be a setting of the card, got '{self.retention}'.")
            if DAYS not in self.pattern:
                raise ValueError(f"A family with a retention must have a folder a day, got '{self.pattern}'.")
        for decision in (self.retention, self.erasure):
            if isinstance(decision, Stays) and not decision.why:
                raise ValueError(f"A family that stays must say why, got nothing ('{self.pattern}').")

    @property
    def folder(self) -> str:
        """The store's top folder that the family lies in, with its slash; the key itself where it lies in none."""
        return folder_of(self.pattern)

    def key(self, **fields: str | int) -> str:
        """Make a key; fields that the family does not have are passed over.

        >>> SEGMENTS.key(day="2026-11-01", version="v1", shard=0, segment="00003")
        'predictions/date=2026-11-01/v1/00-00003.parquet'
        """
        return self.pattern.format(**{name: int(it) if name in NUMBERS else it for name, it in fields.items()})

    def key_from(self, source: "Family", key: str, **fields: str | int) -> str:
        """Make the key that goes with a key of another family: it has the same fields, but for those that are given.

        >>> SHARD_RECORDS.key_from(SEGMENTS, "predictions/date=2026-11-01/v1/00-00003.parquet")
        'predictions/date=2026-11-01/v1/00.json'

        Raises:
            ValueError: the key is of no such family.
        """
        known = source.fields(key)
        if known is None:
            raise ValueError(f"A key must be one of the family {source.pattern}, got {key!r}.")
        return self.key(**{**known, **fields})

    def prefix(self, **fields: str) -> str:
        """Return what all keys with these fields begin with, as far as the first field that is not given.

        >>> SEGMENTS.prefix(day="2026-11-01"), SEGMENTS.prefix()
        ('predictions/date=2026-11-01/', 'predictions/date=')
        """
        parts = []
        for literal, field, _, _ in Formatter().parse(self.pattern):
            parts.append(literal)
            if field is None or field not in fields:
                break
            parts.append(fields[field])
        return "".join(parts)

    def fields(self, key: str) -> dict[str, str] | None:
        """Take a key apart; None when it is of another family.

        >>> SCORED.fields("scored/v1/date=2026-11-01/07.parquet")
        {'version': 'v1', 'day': '2026-11-01', 'shard': '07'}
        >>> SCORED.fields("scored/v1/date=2026-11-01/007.parquet")  # the family's own key of shard 7 is another
        """
        found = _compiled(self.pattern).fullmatch(key)
        return found.groupdict() if found else None

    def listed(self, store: Store, **fields: str) -> list[tuple[str, dict[str, str]]]:
        """List the family's keys with these fields, in their order, each with all its fields."""
        return listed(store, (self,), **fields)

    def day_of(self, key: str) -> str | None:
        """Read the day of whatever lies in the family's folder of a day; None for what lies elsewhere.

        >>> SEGMENTS.day_of("predictions/date=2026-11-01/of-an-older-release")
        '2026-11-01'
        """
        found = _compiled(self.pattern.partition(DAYS)[0] + DAYS).match(key)
        return found["day"] if found else None

    @property
    def expression(self) -> str:
        """The regular expression of its keys, with a group a field."""
        return "".join(_parts(self.pattern))


def listed(store: Store, families: Sequence[Family], **fields: str) -> list[tuple[str, dict[str, str]]]:
    """List the keys of some families with these fields, family by family, as the store was at one moment.

    Returns:
        each key with all its fields.
    """
    begins = commonprefix([family.prefix(**fields) for family in families])  # noqa: RUF071 - as a store lists, by signs
    keys = store.list(begins)
    found = ((key, family.fields(key)) for family in families for key in keys)
    return [(key, known) for key, known in found if known is not None and fields.items() <= known.items()]


def _parts(pattern: str) -> Iterator[str]:
    for literal, field, form, _ in Formatter().parse(pattern):
        yield re.escape(literal)
        if field is not None:
            yield f"(?P<{field}>{_number(FIELDS[field], str(form)) if field in NUMBERS else FIELDS[field]})"


def _number(digit: str, form: str) -> str:
    """Return the expression of the whole numbers that a format such as 02d writes, which has one way for each."""
    least = int(form.removeprefix("0").removesuffix("d"))
    return f"{digit}{{{least}}}|[1-9]{digit}{{{least},}}"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_parts(pattern)))


LASTING = Stays("what a later run builds on")
NO_TEXT = Stays("holds no text")
LEARNED = Stays("a model that learned from a text is made without it by training again alone")

MARKER = Family(
    pattern="store.json",
    what="marks a folder or bucket as a store, and says that its server keeps the conditions of writes",
    owner="store",
    reader="store.s3.prove",
    retention=LASTING,
    erasure=NO_TEXT,
)
CURRENT = Family(
    pattern="current.json",
    what="names the bundle that serves",
    owner="store",
    reader="store.registry.read_current",
    retention=LASTING,
    erasure=NO_TEXT,
)
HISTORY = Family(
    pattern="history/{number:08d}.json",
    what="every state of the pointer, by its generation",
    owner="store",
    reader="store.registry.read_history",
    retention=LASTING,
    erasure=NO_TEXT,
)
BUNDLES = Family(
    pattern="bundles/{version}/{path}",
    what="a published bundle with its papers",
    owner="store",
    reader="store.registry.fetch_bundle",
    retention=LASTING,
    erasure=LEARNED,
)
CHECKPOINTS = Family(
    pattern="checkpoints/{card}-{training}/{name}.json",
    what="where a training stands, and says that its tensors are whole",
    owner="steps/train",
    reader="steps.train.checkpoints.read_latest",
    retention=Stays("gone when a later training of its card has ended"),
    erasure=LEARNED,
)
CHECKPOINT_TENSORS = Family(
    pattern="checkpoints/{card}-{training}/{name}.safetensors",
    what="what a training has learned so far, and its student once it has ended",
    owner="steps/train",
    reader="steps.train.checkpoints.read_latest",
    retention=Stays("gone when a later training of its card has ended"),
    erasure=LEARNED,
)
CARDS = Family(
    pattern="cards/{card}/{name}.yaml",
    what="every version of a card, by its hash",
    owner="steps/ingest",
    reader="data.cards.read",
    retention=LASTING,
    erasure=NO_TEXT,
)
SPLITS = Family(
    pattern="splits/{card}/{number:06d}.jsonl",
    what="which split each group is in, for ever",
    owner="steps/ingest",
    reader="steps.ingest.splits.read",
    retention=LASTING,
    erasure=Erasure.LINES,
)
LABELS = Family(
    pattern="labels/{card}/{number:06d}-{name}.jsonl",
    what="human labels that teach",
    owner="review",
    reader="review.labels.read_all",
    retention=LASTING,
    erasure=Erasure.LINES,
)
QUEUE_TABLES = Family(
    pattern="queues/{card}/{queue}/{name}.parquet",
    what="texts for people to label",
    owner="steps/mine",
    reader="review.labels.read_all",
    retention=LASTING,
    erasure=Erasure.ROWS,
)
QUEUE_SHEETS = Family(
    pattern="queues/{card}/{queue}/{name}.csv",
    what="the same texts, to fill in",
    owner="steps/mine",
    reader="review.labels.read_all",
    retention=LASTING,
    erasure=Erasure.CELLS,
)
QUEUE_RECORDS = Family(
    pattern="queues/{card}/{queue}/{name}.json",
    what="the same texts as Label Studio's tasks, and what is said of the queue",
    owner="steps/mine",
    reader="store.codecs.read_json",
    retention=LASTING,
    erasure=Erasure.ITEMS,
)
QUEUE_PAGES = Family(
    pattern="queues/{card}/{queue}/{name}.xml",
    what="Label Studio's page for a queue",
    owner="steps/mine",
    reader="review.queues.label_studio_page",
    retention=LASTING,
    erasure=NO_TEXT,
)
CYCLES = Family(
    pattern="cycles/{card}/{number:06d}-{version}.json",
    what="what a cycle of the learning loop had learned from, what it reached and what it left for people",
    owner="steps/mine",
    reader="store.cycles.read_all",
    retention=LASTING,
    erasure=NO_TEXT,
)
CYCLE_ANSWERS = Family(
    pattern="cycles/{card}/{number:06d}-{version}.parquet",
    what="a cycle's answers to the validation split, so that cycles are compared on the same texts",
    owner="steps/mine",
    reader="store.cycles.read_answers",
    retention=LASTING,
    erasure=Erasure.ROWS,
)
CHECKS = Family(
    pattern="checks/{card}/{number:06d}.jsonl",
    what="what people said of texts whose labels are known, which measures them and never teaches",
    owner="review",
    reader="review.journal.checks",
    retention=LASTING,
    erasure=Erasure.LINES,
)
STORE_ID = Family(
    pattern="judgements/.store-id",
    what="tells a store from another one that was made anew at its address",
    owner="store",
    reader="store.identity.find_id",
    retention=LASTING,
    erasure=NO_TEXT,
)
JUDGEMENTS = Family(
    pattern="judgements/{card}/{judge}/{name}.jsonl",
    what="the teacher's answers, with what each cost",
    owner="teacher",
    reader="teacher.response_log.ResponseLog",
    retention=Stays("it was paid for, and is never bought again"),
    erasure=Erasure.BLANKED,
)
TEACHER_LEASES = Family(
    pattern="leases/teacher/{card}.json",
    what="who asks the teacher now, and for what the answer is still to come",
    owner="teacher",
    reader="store.lease.read_record",
    retention=LASTING,
    erasure=NO_TEXT,
)
TEACHER_BATCHES = Family(
    pattern="batches/{card}/{name}.json",
    what="what a batch asks the teacher for, while the server works on it",
    owner="teacher",
    reader="teacher.batch_records.listed",
    retention=Stays("it goes when the batch's answers are kept"),
    erasure=Erasure.ORDERS,
)
ORDER = Family(
    pattern="manifests/order/{number:08d}.json",
    what="every night's manifest, in the order in which the nights were begun",
    owner="store",
    reader="store.manifests.newest_manifest",
    retention=LASTING,
    erasure=NO_TEXT,
)
MANIFESTS = Family(
    pattern="manifests/date={day}/manifest.json",
    what="which texts a night labels, by which bundle, in how many shards",
    owner="store",
    reader="store.manifests.read_manifest",
    retention=LASTING,
    erasure=NO_TEXT,
)
LIMITS = Family(
    pattern="manifests/date={day}/{shard:02d}.json",
    what="by what a shard is cut into segments, as its first worker was given it",
    owner="steps/infer",
    reader="store.codecs.read_as",
    retention=LASTING,
    erasure=NO_TEXT,
)
SEGMENTS = Family(
    pattern="predictions/date={day}/{version}/{shard:02d}-{segment:05d}.parquet",
    what="predictions, a row a text",
    owner="steps/infer",
    reader="store.segments.parse",
    retention="predictions_days",
    erasure=Erasure.ROWS,
)
SHARD_RECORDS = Family(
    pattern="predictions/date={day}/{version}/{shard:02d}.json",
    what="says that a shard is whole, and what its segments hold",
    owner="steps/infer",
    reader="store.segments.find_record",
    retention="predictions_days",
    erasure=Erasure.RECOUNTED,
)
REFUSALS = Family(
    pattern="refusals/date={day}/{version}/{shard:02d}-{segment:05d}.parquet",
    what="rows of a night that were refused, each with its reason",
    owner="steps/infer",
    reader="store.codecs.read_table",
    retention="refusals_days",
    erasure=Erasure.ROWS,
)
SCORED = Family(
    pattern="scored/{version}/date={day}/{shard:02d}.parquet",
    what="what a shard scored, by content hash, so that no text is scored twice",
    owner="steps/infer",
    reader="store.codecs.read_table",
    retention="predictions_days",
    erasure=Erasure.ROWS,
)
SERVING = Family(
    pattern="indexed/serving.json",
    what="which index the nights go to",
    owner="search",
    reader="search.opening.read_serving",
    retention=LASTING,
    erasure=NO_TEXT,
)
INDEXED = Family(
    pattern="indexed/{index}/predictions/date={day}/{version}/{shard:02d}-{segment:05d}.parquet.json",
    what="a segment is whole in an index of Elasticsearch",
    owner="search",
    reader="search.elastic.ElasticIndex",
    retention="predictions_days",
    erasure=NO_TEXT,
)
DEAD_LETTERS = Family(
    pattern="dead-letters/{index}/date={day}/{version}/{shard:02d}-{segment:05d}.json",
    what="documents that an index refused, each with its reason",
    owner="search",
    reader="search.dead_letters.read",
    retention="predictions_days",
    erasure=Erasure.ITEMS,
)
SAMPLE_TABLES = Family(
    pattern="samples/{day}/{name}.parquet",
    what="texts of the nights, drawn with known weights",
    owner="steps/sample",
    reader="review.samples.read_sample",
    retention="samples_days",
    erasure=Erasure.ROWS,
)
SAMPLE_SHEETS = Family(
    pattern="samples/{day}/{name}.csv",
    what="the same texts, to fill in",
    owner="steps/sample",
    reader="review.samples.read_sample",
    retention="samples_days",
    erasure=Erasure.CELLS,
)
SAMPLE_RECORDS = Family(
    pattern="samples/{day}/{name}.json",
    what="the same texts as Label Studio's tasks, and what is said of the sample",
    owner="steps/sample",
    reader="review.samples.read_about",
    retention="samples_days",
    erasure=Erasure.ITEMS,
)
SAMPLE_PAGES = Family(
    pattern="samples/{day}/{name}.xml",
    what="Label Studio's page for a sample",
    owner="steps/sample",
    reader="review.queues.label_studio_page",
    retention="samples_days",
    erasure=NO_TEXT,
)
SAMPLE_ANSWERS = Family(
    pattern="samples/{day}/answers-{number:06d}.jsonl",
    what="what people said of a sample, which measures and never teaches",
    owner="review",
    reader="review.samples.read_answers",
    retention="samples_days",
    erasure=Erasure.LINES,
)
WATCH_SERIES = Family(
    pattern="watch/date={day}/series.json",
    what="what the watch measured in a night, and the words that came up",
    owner="steps/watch",
    reader="store.watch_records.parse",
    retention=LASTING,
    erasure=Erasure.WORDS,
)
WATCH_PAGES = Family(
    pattern="watch/date={day}/page.html",
    what="the watch's page of a night",
    owner="steps/watch",
    reader="reports.watch.page",
    retention=LASTING,
    erasure=Erasure.MADE_AGAIN,
)
WATCH_NEWEST = Family(
    pattern="watch/page.html",
    what="the watch's page of the newest night",
    owner="steps/watch",
    reader="reports.watch.page",
    retention=LASTING,
    erasure=Erasure.MADE_AGAIN,
)
WATCH_DOCUMENTS = Family(
    pattern="watch/date={day}/documents.jsonl",
    what="the night's series, for an index",
    owner="steps/watch",
    reader="store.codecs.read_lines",
    retention=LASTING,
    erasure=NO_TEXT,
)
WATCH_METRICS = Family(
    pattern="watch/date={day}/understudy.prom",
    what="the night's figures, for Prometheus",
    owner="steps/watch",
    reader="runners.cluster.exporter.newest",
    retention=LASTING,
    erasure=NO_TEXT,
)
WATCH_WEBHOOKS = Family(
    pattern="watch/date={day}/webhook.json",
    what="what the webhook was told, once",
    owner="steps/watch",
    reader="store.codecs.read_json",
    retention=LASTING,
    erasure=NO_TEXT,
)
RETRAIN = Family(
    pattern="watch/retrain/{day}.json",
    what="asks for a training run",
    owner="steps/watch",
    reader="runners.cluster.retrain.answer",
    retention=LASTING,
    erasure=NO_TEXT,
)
QUALITY = Family(
    pattern="watch/quality/{day}-{number:06d}-{name}.json",
    what="what people and the teacher say of the model",
    owner="steps/watch",
    reader="store.codecs.read_mapping",
    retention=LASTING,
    erasure=NO_TEXT,
)
TEST_SETS = Family(
    pattern="testsets/{day}/gold.parquet",
    what="a quarter's answered texts, as a test split",
    owner="steps/watch",
    reader="store.tables.read_gold",
    retention=LASTING,
    erasure=Erasure.ROWS,
)
TEST_SET_RECORDS = Family(
    pattern="testsets/{day}/about.json",
    what="F1 on a quarter's test set beside F1 on the one before",
    owner="steps/watch",
    reader="steps.watch.testsets.read_all",
    retention=LASTING,
    erasure=NO_TEXT,
)
RUNS = Family(
    pattern="runs/{run}/{name}",
    what="a run's records: begun, submitted, decided, faulty, ended",
    owner="runners",
    reader="store.runs.read",
    retention=LASTING,
    erasure=NO_TEXT,
)
TOMBSTONES = Family(
    pattern="forgotten/{hash}.json",
    what="a text that somebody asked to forget, by hash",
    owner="store",
    reader="store.tombstones.read",
    retention=Stays("or the text would come back with its source"),
    erasure=NO_TEXT,
)

FAMILIES: tuple[Family, ...] = (
    MARKER,
    CURRENT,
    HISTORY,
    BUNDLES,
    CHECKPOINTS,
    CHECKPOINT_TENSORS,
    CARDS,
    SPLITS,
    LABELS,
    QUEUE_TABLES,
    QUEUE_SHEETS,
    QUEUE_RECORDS,
    QUEUE_PAGES,
    CYCLES,
    CYCLE_ANSWERS,
    CHECKS,
    STORE_ID,
    JUDGEMENTS,
    TEACHER_LEASES,
    TEACHER_BATCHES,
    ORDER,
    MANIFESTS,
    LIMITS,
    SEGMENTS,
    SHARD_RECORDS,
    REFUSALS,
    SCORED,
    SERVING,
    INDEXED,
    DEAD_LETTERS,
    SAMPLE_TABLES,
    SAMPLE_SHEETS,
    SAMPLE_RECORDS,
    SAMPLE_PAGES,
    SAMPLE_ANSWERS,
    WATCH_SERIES,
    WATCH_PAGES,
    WATCH_NEWEST,
    WATCH_DOCUMENTS,
    WATCH_METRICS,
    WATCH_WEBHOOKS,
    RETRAIN,
    QUALITY,
    TEST_SETS,
    TEST_SET_RECORDS,
    RUNS,
    TOMBSTONES,
)
QUEUE = (QUEUE_TABLES, QUEUE_SHEETS, QUEUE_RECORDS, QUEUE_PAGES)  # files that lie in one folder, each by its suffix
SAMPLE = (SAMPLE_TABLES, SAMPLE_SHEETS, SAMPLE_RECORDS, SAMPLE_PAGES)
OTHERS = {  # a key of no family is an older release's, or somebody's own: its name says how it is read
    ".parquet": Erasure.ROWS,
    ".jsonl": Erasure.LINES,
    ".csv": Erasure.CELLS,
    ".json": Erasure.ITEMS,
}


def file_key(families: Sequence[Family], file: str, **fields: str) -> str:
    """Make the key of a file in a folder that families share, of the family that keeps files of its kind.

    >>> file_key(SAMPLE, "label-studio.json", day="2026-11-01")
    'samples/2026-11-01/label-studio.json'

    Raises:
        ValueError: none of them does.
    """
    for family in families:
        name, suffix = file, family.pattern.rpartition("{name}")[2]
        if name.endswith(suffix):
            return family.key(name=name.removesuffix(suffix), **fields)
    raise ValueError(f"A file must be one that the store keeps, got {file!r} ({families[0].pattern}).")


def families_of(key: str) -> list[Family]:
    """Find the family of a key: one, or none for what this release writes nowhere.

    >>> [family.what for family in families_of("current.json")]
    ['names the bundle that serves']
    """
    return [family for family in _by_folder().get(folder_of(key), ()) if family.fields(key) is not None]


def erasure_of(key: str) -> Erasure | None:
    """Return how a text leaves an object; None where nothing of it goes.

    >>> erasure_of("splits/hotel-tips/000001.jsonl"), erasure_of("runs/first/ended.json")
    (<Erasure.LINES: 'its lines leave the JSON lines'>, None)
    """
    for family in families_of(key):
        return family.erasure if isinstance(family.erasure, Erasure) else None
    return next((erasure for suffix, erasure in OTHERS.items() if key.endswith(suffix)), None)


def retained_by(setting: str) -> list[Family]:
    """Return the families that a setting of the card's retention removes, by their folders of a day."""
    return [family for family in FAMILIES if family.retention == setting]


def folders(*families: Family) -> tuple[str, ...]:
    """Return the top folders that families lie in, each once, in their order.

    >>> folders(SEGMENTS, SHARD_RECORDS, CURRENT)
    ('predictions/', 'current.json')
    """
    return tuple(dict.fromkeys(family.folder for family in families))


def folder_of(key: str) -> str:
    """Return the top folder that a key lies in, with its slash; the key itself where it lies in none."""
    top, slash, _ = key.partition("/")
    return top + slash


@cache
def _by_folder() -> dict[str, list[Family]]:
    return {folder: [one for one in FAMILIES if one.folder == folder] for folder in folders(*FAMILIES)}
