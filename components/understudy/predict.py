"""Label texts by a bundle, on the command line: what `understudy predict` reads and prints."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from understudy.cascade import FIRST, STUDENT
from understudy.errors import BadInput
from understudy.registry import fetch_bundle
from understudy.scoring import Bundle
from understudy.storage import open_store

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a bundle says of one text.

    Attributes:
        text: the text.
        label: the positive label when its probability reaches the threshold, else the most probable other label.
        probability: of `label`, calibrated.
        positive_probability: of the positive label; the same as `probability` when that is the label.
        threshold: at or above it a text gets the positive label.
        version: the bundle's.
        stage: what decided: "first", the first stage, or "student".
        is_rehearsal: a rehearsal teacher had a part in the bundle.
    """

    text: str
    label: str
    probability: float
    positive_probability: float
    threshold: float
    version: str
    stage: str
    is_rehearsal: bool


def open_bundle(store: str | None, bundle: Path | None) -> Bundle:
    """Open the bundle that a store serves, or the one in a folder.

    Raises:
        BadInput: not exactly one of the two is given, or nothing is published.
    """
    if bundle is not None and store is None:
        return Bundle.open(bundle)
    if store is not None and bundle is None:
        return Bundle.open(fetch_bundle(open_store(store)))
    raise BadInput("A bundle must come from one place, got none or two. Give --store STORE or --bundle FOLDER.")


def read_texts(texts: Sequence[str], file: str | None) -> list[str]:
    """Take the texts of the command line, or one a line of a file or of standard input.

    Args:
        texts: as given; a single "-" stands for standard input.
        file: path, or "-" for standard input.

    Raises:
        BadInput: there are none, one is empty, or the file cannot be read as UTF-8.
    """
    if tuple(texts) == (STDIN,):
        texts, file = (), STDIN
    if bool(texts) == bool(file):
        raise BadInput('Texts must come from one place, got none or two. Give TEXT..., "-" or --file FILE.')
    found = list(texts) if texts else _lines(str(file))
    where = "line" if file else "text"
    empty = [number for number, text in enumerate(found, start=1) if not text.strip()]
    if empty:
        raise BadInput([f"A text must have words in it, got an empty one ({where} {number})." for number in empty])
    return found


def predict(bundle: Bundle, texts: Sequence[str]) -> list[Prediction]:
    """Label texts, in their order."""
    probabilities, _, is_settled = bundle.score(texts)
    chosen = bundle.choose(probabilities)
    return [
        Prediction(
            text=text,
            label=bundle.labels[index],
            probability=float(row[index]),
            positive_probability=float(row[bundle.positive_index]),
            threshold=bundle.threshold,
            version=bundle.version,
            stage=FIRST if settled else STUDENT,
            is_rehearsal=bundle.is_rehearsal,
        )
        for text, index, row, settled in zip(texts, chosen, probabilities, is_settled, strict=True)
    ]


def introduction(bundle: Bundle) -> str:
    """Say once what answers: version, threshold, and whether it learned from a rehearsal."""
    rehearsal = " It learned from a rehearsal teacher." if bundle.is_rehearsal else ""
    return f"{bundle.version}: '{bundle.positive_label}' from {bundle.threshold:.3f} upwards.{rehearsal}"


def line(prediction: Prediction, bundle: Bundle) -> str:
    """Return a prediction as a line to read: label, its probability, the positive label's, and the text."""
    width = max(map(len, bundle.labels))
    text = " ".join(prediction.text.split())
    positive = f"P({bundle.positive_label})={prediction.positive_probability:.3f}"
    return f"{prediction.label:<{width}}  {prediction.probability:.3f}  {positive}  {text}"


def json_line(prediction: Prediction) -> str:
    """Return a prediction as one line of JSON."""
    return json.dumps(asdict(prediction), ensure_ascii=False)


def _lines(file: str) -> list[str]:
    try:
        data = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return data.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"Texts must be a readable UTF-8 file, one a line, got {error} ({file}).") from error
