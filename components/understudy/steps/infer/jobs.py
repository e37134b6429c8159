"""What one worker of the step infer is given: a shard of a night, or of a source outside of any night."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from understudy.data.arrivals import block_rows, look, next_manifest, read_range, require_under
from understudy.data.rows import Refusal, Row
from understudy.errors import BadInput
from understudy.model import contract
from understudy.model.scoring import Bundle
from understudy.steps.infer import turns
from understudy.steps.infer.config import InferConfig
from understudy.store import manifests, names, registry
from understudy.store.manifests import Manifest, Range
from understudy.store.storage import Store
from understudy.store.tombstones import Forgotten
from understudy.task.card import Card, Context, load_card
from understudy.task.sections import CascadeConfig, ColumnsConfig
from understudy.task.settings import Overrides, config_of


@dataclass(frozen=True, slots=True)
class Job:
    """One shard, and all that is needed to label it.

    `language`: of the texts, which are split into sentences; None where they are taken whole.
    """

    manifest: Manifest
    shard: int
    bundle: Bundle
    config: InferConfig
    checked_share: float
    store: Store
    language: str | None
    context: Context | None = None  # of the bundle's card: what its student was taught with

    @property
    def name(self) -> str:
        """The shard's name, "<date>/<two digits>"."""
        return self.manifest.shard_names[self.shard]

    @property
    def size(self) -> int:
        """Rows of the shard, by the night's manifest."""
        return sum(part.rows for part in self.manifest.shards[self.shard])

    def rows(self, forgotten: Forgotten) -> Iterator[Row | Refusal]:
        """Read the shard's rows, in order, with the turns before them where the bundle reads these.

        `read_range` sees to it that each range gives what the manifest counts. A text to be forgotten is no turn.
        """
        for part in self.manifest.shards[self.shard]:
            if self.context is None:
                yield from self._read(part)
            else:
                turns.require_columns(part.object, self.manifest.objects[part.object], self.context)
                night = [one for shard in self.manifest.shards for one in shard if one.object == part.object]
                yield from turns.with_context(part, night, self._read, self.context, forgotten)

    def _read(self, part: Range) -> Iterator[Row | Refusal]:
        about, consumed = self.manifest.objects[part.object], self.manifest.watermark[part.object]
        more = self.context.columns if self.context else ()
        return read_range(part, about, consumed, self.config.max_chars, more)


def require_one_form(card: Path | None, store: str, night: tuple[str, str], bundle: Path | None, texts: str) -> None:
    """Refuse options that name neither a shard of a night nor a bundle and texts.

    Raises:
        BadInput: they do.
    """
    is_night = bool(card and store and all(night) and not bundle and not texts)
    is_outside = bool(bundle and texts and not card and not store and not any(night))
    if not is_night and not is_outside:
        raise BadInput(
            "What to label must be --card, --store, --shard and --source, or --bundle and --texts, got another set of "
            "options. Give one of the two."
        )


def of_night(card: Path, store: Store, shard: str, source: str, overrides: Overrides) -> Job:
    """Make the job of one shard of a night, by the store's manifest and bundle.

    Raises:
        BadInput: the night has no such shard, or its texts do not lie under the source.
    """
    night, _, number = shard.partition("/")
    manifest = manifests.read_manifest(store, names.night_of(night))
    if shard not in manifest.shard_names:
        raise BadInput(
            f"A shard must be one of {manifest.shard_names[0]} to {manifest.shard_names[-1]}, got '{shard}' (--shard)."
        )
    settings = load_card(card).settings(overrides)
    config = settings.of(InferConfig)
    index = int(number)
    where = store.locate(manifests.manifest_key(manifest.date))
    given = manifests.source_on(source, manifest.date)
    require_under((part.object for part in manifest.shards[index]), given, where)
    bundle = contract.opened(registry.fetch_bundle(store, manifest.bundle))
    suited = _suited(bundle, config, manifest.shards[index])
    share, taught = settings.of(CascadeConfig).checked_share, load_card(bundle.folder)
    return Job(manifest, index, suited, config, share, store, _sentence_language(taught), taught.context)


def outside(folder: Path, texts: str, night: str, store: Store, overrides: Overrides) -> list[Job]:
    """Make the jobs that label texts outside of any night; they write to a folder of their own."""
    card = load_card(folder)
    settings = card.settings(overrides)
    config, size = settings.of(InferConfig), settings.value("shard.texts_per_shard")
    bundle = contract.opened(folder)
    about = {
        "date": night,
        "created": f"{night}T00:00:00Z",
        "source": texts,
        "card": card.name,
        "bundle": bundle.version,
        "generation": 0,
        "labels": bundle.space.names,
        "positive_label": bundle.space.positive,
        "labels_per_text": "many" if bundle.space.is_many else "one",
    }
    called = settings.of(ColumnsConfig).called
    looked = look(texts, {}, block_rows(size), card.context.columns if card.context else (), called)
    manifest = next_manifest(None, looked, size, about)
    suited = _suited(bundle, config, chain.from_iterable(manifest.shards))
    share, language = settings.of(CascadeConfig).checked_share, _sentence_language(card)
    numbers = range(len(manifest.shards))
    return [Job(manifest, number, suited, config, share, store, language, card.context) for number in numbers]


def _sentence_language(taught: Card) -> str | None:
    """Return the language of texts that are split into sentences; None where they are taken whole.

    It is the bundle's card that says so, as its student was taught, whatever the card of the run says by now.
    """
    config: Any = taught.settings().of(config_of("ingest"))
    return str(config.language) if config.split == "sentences" else None


def _suited(bundle: Bundle, config: InferConfig, ranges: Iterable[Range]) -> Bundle:
    """Run the bundle with the settings that suit this machine and so many texts."""
    return bundle.tuned(sum(part.rows for part in ranges), config.threads, config.batch_tokens)
