"""Find out whether a store holds sentences, which go with the text that their ids name: `<id>#<number>`."""

from understudy.data import cards
from understudy.errors import BadArtifact, BadCard, BadSetting
from understudy.store import codecs, layout
from understudy.store.storage import Store


def holds_sentences(store: Store) -> bool:
    """Tell whether texts are split: by a card that the store holds, or in a night.

    What cannot be read counts as splitting: rather too much is forgotten than too little.
    """
    if any(_splits(store, key) for key, _ in layout.CARDS.listed(store)):
        return True
    return any(_was_split(store, key) for key, _ in layout.LIMITS.listed(store))


def _splits(store: Store, card: str) -> bool:
    try:
        known, _ = cards.parse(store.read(card), store.locate(card))
        return bool(known.settings().value("ingest.split") == "sentences")
    except (BadCard, BadSetting):
        return True


def _was_split(store: Store, limits: str) -> bool:
    """Tell whether a night's shard was split, by the language that it keeps then alone."""
    try:
        said = codecs.read_json(store.read(limits), store.locate(limits))
    except BadArtifact:
        return True
    return not isinstance(said, dict) or said.get("language") is not None
