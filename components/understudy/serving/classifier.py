"""Label texts from Python, by the classifier that a store serves.

    from understudy import open_classifier

    classifier = open_classifier("s3://bucket/task")
    for found in classifier.label(["Ask for a room at the back, the tram starts at five."]):
        print(found.label, found.probability, found.why_not)

The labels and probabilities are those of `understudy predict`: both call `predictions.predict`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from understudy.errors import BadInput
from understudy.model.scoring import Bundle
from understudy.serving.predictions import Prediction, Unlabelled, context_of, open_bundle, predict


@dataclass(frozen=True, slots=True)
class Labelled:
    """What the classifier says of one text.

    Attributes:
        text: the text.
        labels: that it gets: one, or where the task allows it several or none; empty where it cannot be labelled.
        probability: in [0, 1], calibrated, of the label; of several the lowest one's, of none 1 less the likeliest
            one's; None where the text cannot be labelled.
        probabilities: of every label of the task, by name; empty where the text cannot be labelled.
        why_not: why it cannot be labelled: empty_text, too_long, nul_byte or not_utf8; empty where it is.
    """

    text: str
    labels: tuple[str, ...] = ()
    probability: float | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    why_not: str = ""

    @property
    def label(self) -> str | None:
        """The label of a text that has one; None where it has none.

        Raises:
            BadInput: it has several.
        """
        if len(self.labels) > 1:
            raise BadInput(
                f"A text must have one label to be asked for it, got {len(self.labels)} (label). Read `labels`."
            )
        return self.labels[0] if self.labels else None


class Classifier:
    """A classifier ready to label; `open_classifier` opens one.

    Attributes:
        version: of the bundle that answers.
        labels: of the task, in the card's order.
        is_rehearsal: a rehearsal teacher had a part in it, so that its answers mean nothing.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.version = bundle.version
        self.labels = bundle.space.names
        self.is_rehearsal = bundle.is_rehearsal

    def label(self, texts: Iterable[str], *, turns: Sequence[str] = ()) -> Iterator[Labelled]:
        """Label texts, in their order; a thousand are held at once, so that a generator of any length can be given.

        Args:
            texts: to label; one that cannot be labelled keeps its place, and says why not.
            turns: what was said before each of them, oldest first, where the task's card has context.

        Raises:
            BadInput: one string is given in place of several, a text is no string, or turns are given to a task
                without context.
        """
        if isinstance(texts, str):
            raise BadInput("Texts must be a list of texts, got one string (texts). Put it in a list.")
        if isinstance(turns, str) or not all(isinstance(turn, str) for turn in turns):
            raise BadInput("Turns must be a list of strings, the oldest first (turns). Put one in a list.")
        context = context_of(self._bundle, turns)
        return map(self._labelled, predict(self._bundle, _checked(texts), context=context, with_all=True))

    def _labelled(self, found: Prediction | Unlabelled) -> Labelled:
        if isinstance(found, Unlabelled):
            return Labelled(found.text, why_not=found.reason)
        names = tuple(self._bundle.space.names_in(found.label))
        return Labelled(found.text, names, found.probability, found.probabilities or {})


def open_classifier(
    store: str | PathLike[str] | None = None, *, bundle: str | PathLike[str] | None = None
) -> Classifier:
    """Open the classifier that a store serves now, or a bundle in a folder, published or not.

    A store's bundle is fetched once to this machine's cache, and its hashes are checked every time. One that is open
    stays as it is when another version is published.

    Args:
        store: folder or s3://bucket/prefix, as `--store` of the commands.
        bundle: folder of a bundle, as `--bundle` of `understudy predict`.

    Raises:
        BadInput: not exactly one of the two is given, or nothing is published.
        BadArtifact: a file of the bundle was altered, or is missing.
        StorageError: the store does not answer.
    """
    if (store is None) == (bundle is None):
        raise BadInput("A classifier must come from one place, got none or two. Give a store, or bundle=FOLDER.")
    return Classifier(open_bundle(None if store is None else str(store), None if bundle is None else Path(bundle)))


def _checked(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise BadInput(
                f"A text must be a string, got {type(text).__name__} (text {number:,}). Leave it out, or make it one."
            )
        yield text
