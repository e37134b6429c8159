"""Hold a bundle to its card's contract: the texts of `must`, whose label it must give to be published and to serve."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import BadArtifact
from understudy.model.decision import chances
from understudy.model.scoring import Bundle
from understudy.task.card import Card, load_card
from understudy.task.labels import LabelSpace
from understudy.task.must import meant
from understudy.text.numbers import clipped

TEXT_SHOWN = 120
REMEDY = "Go back to the version before it (understudy rollback), or train again; the card's must says what is asked."


@dataclass(frozen=True, slots=True)
class Held:
    """What a bundle says of one text of the contract.

    Attributes:
        text: the text.
        wanted: the label that it must get; of texts that are alike without a label, that of the first.
        given: the label that it gets.
        probability: of that label.
        like: the text that it is alike; None where it stands for itself.
    """

    text: str
    wanted: str
    given: str
    probability: float
    like: str | None = None

    @property
    def is_kept(self) -> bool:
        """Whether it gets the label that it must."""
        return self.given == self.wanted


def hold(bundle: Bundle, card: Card) -> list[Held]:
    """Label the texts of the card's contract, with no turns before them; nothing where it has none."""
    texts = card.contract
    if not texts:
        return []
    probabilities = bundle.probabilities(texts)
    codes = bundle.choose(probabilities)
    given = zip(bundle.space.named(codes), chances(probabilities, codes).tolist(), strict=True)
    return list(_held(card, dict(zip(texts, given, strict=True))))


def _held(card: Card, given: Mapping[str, tuple[str, float]]) -> Iterator[Held]:
    """Put what each text must get beside what it gets."""
    for must in card.must:
        label = must.label and meant(must.label, card.label_names, is_many=card.is_many)
        wanted = label or given[must.text][0]
        yield Held(must.text, wanted, *given[must.text])
        for text in must.alike:
            yield Held(text, wanted, *given[text], like=must.text)


def broken(held: Sequence[Held], space: LabelSpace) -> list[str]:
    """Say of each text that does not get the label that it must what it gets."""
    return [
        f"'{clipped(one.text, TEXT_SHOWN)}' must be labelled {space.words(one.wanted)!r}"
        f"{f', as is {clipped(one.like, TEXT_SHOWN)!r}' if one.like else ''}, got {space.words(one.given)!r} (must)."
        for one in held
        if not one.is_kept
    ]


def opened(folder: Path) -> Bundle:
    """Open a bundle that is to serve, once it has kept its card's contract on this machine.

    Raises:
        BadArtifact: it breaks the contract, with a sentence for each text that gets another label; or it cannot be
            opened.
    """
    bundle = Bundle.open(folder)
    card = load_card(folder)
    if told := broken(hold(bundle, card), bundle.space):
        raise BadArtifact([f"{sentence} {bundle.version} does not serve here. {REMEDY}" for sentence in told])
    return bundle
