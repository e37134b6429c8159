"""Label texts by a bundle: `understudy predict`."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from understudy.data.limits import MOST_PREDICT_BYTES
from understudy.errors import BadInput
from understudy.model.scoring import Bundle
from understudy.serving.predictions import Prediction, Unlabelled, context_of, fault_of, open_bundle, predict
from understudy.task import label_sets
from understudy.task.labels import LabelSpace
from understudy.text.numbers import count

STDIN = "-"
NO_LABEL = "-"
WIDEST = 24  # signs of a label's column


@click.command("predict")
@click.argument("texts", nargs=-1)
@click.option("--store", help="Store whose published bundle answers: a folder or s3://bucket/prefix.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Folder of a bundle that answers, published or not.")
@click.option("--file", help="File with one text a line; - for standard input.")
@click.option("--text-column", metavar="NAME", help="Read FILE as CSV, JSONL or Parquet; its texts are in this column.")
@click.option(
    "--context", "turns", multiple=True, metavar="TURN", help="Turn before the texts; again for more, the oldest first."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--probabilities", "with_all", is_flag=True, help="Print JSON with the probability of every label.")
def command(
    texts: tuple[str, ...],
    store: str | None,
    bundle: Path | None,
    file: str | None,
    text_column: str | None,
    turns: tuple[str, ...],
    as_json: bool,
    with_all: bool,
) -> None:
    """Label texts: TEXT..., or - for one a line of standard input.

    A line holds the label and its probability, the runner-up and its probability, and the text. A blank line, and any
    other that cannot be labelled, keeps its place as "-" with the reason, and is counted at the end. A text is labelled
    as it is given, also where the card splits texts into sentences. Where a text may have several labels, the
    probability is the lowest one's, the runner-up the likeliest label not given, and JSON has a list of labels.
    """
    given = read_texts(texts, file, text_column)
    opened = open_bundle(store, bundle)
    click.echo(introduction(opened), err=True)
    predictions = list(predict(opened, given, context=context_of(opened, turns), with_all=with_all))
    for prediction in predictions:
        click.echo(json_line(prediction, opened) if as_json or with_all else line(prediction, opened))
    if remark := left_out(predictions):
        click.echo(remark, err=True)


def read_texts(texts: Sequence[str], file: str | None, column: str | None = None) -> list[str]:
    """Take the texts of the command line, one a line of a file or of standard input, or a column of a table.

    Args:
        texts: as given; a single "-" stands for standard input.
        file: path, or "-" for standard input.
        column: with the texts, where the file is a table.

    Raises:
        BadInput: there are none that can be labelled, they are too many for one command, or the file cannot be read.
    """
    if tuple(texts) == (STDIN,):
        texts, file = (), STDIN
    if bool(texts) == bool(file):
        raise BadInput('Texts must come from one place, got none or two. Give TEXT..., "-" or --file FILE.')
    if column is not None and (not file or file == STDIN):
        raise BadInput("A column of texts must be one of a file, got none (--text-column). Give --file FILE.")
    found = list(texts) if texts else _column(str(file), column) if column is not None else _lines(str(file))
    faults = Counter(filter(None, map(fault_of, found)))
    if faults.total() == len(found):
        where = f"line 1 of {file}" if file else "text 1"
        if set(faults) <= {"empty_text"}:
            raise BadInput(f"A text must have words in it, got an empty one ({where}). Give at least one.")
        got = ", ".join(f"{reason} {number:,}" for reason, number in sorted(faults.items()))
        raise BadInput(f"Texts must be a readable UTF-8 file, one a line, got none to label: {got} ({where}).")
    return found


def introduction(bundle: Bundle) -> str:
    """Say once what answers: version, rule, and whether it learned from a rehearsal."""
    rehearsal = " It learned from a rehearsal teacher." if bundle.is_rehearsal else ""
    if bundle.rule.thresholds is not None:
        lowest, highest = bundle.rule.thresholds.min(), bundle.rule.thresholds.max()
        each = f"each of {count(len(bundle.space), 'label')} from a threshold of its own upwards"
        return f"{bundle.version}: {each} ({lowest:.3f} to {highest:.3f}).{rehearsal}"
    if bundle.rule.threshold is not None:
        return f"{bundle.version}: '{bundle.space.positive}' from {bundle.rule.threshold:.3f} upwards.{rehearsal}"
    by = "likeliest" if bundle.rule.costs is None else "cheapest to be wrong with"
    return f"{bundle.version}: the {by} of {count(len(bundle.space), 'label')}.{rehearsal}"


def line(prediction: Prediction | Unlabelled, bundle: Bundle) -> str:
    """Return a prediction as a line to read: label and probability, runner-up and probability, and the text.

    A runner-up that is likelier than the label stands with the threshold that it does not reach.
    """
    space = bundle.space
    width = min(WIDEST, max(map(len, space.names)))
    if isinstance(prediction, Unlabelled):
        return f"{NO_LABEL:<{width}}  ({prediction.reason})"
    text = " ".join(prediction.text.split())
    first = f"{space.words(prediction.label):<{width}} {prediction.probability:.3f}"
    if prediction.runner_up is None or prediction.runner_up_probability is None:
        return f"{first}  {text}"
    second = f"{prediction.runner_up:<{width}} {prediction.runner_up_probability:.3f}{_why_not(prediction, space)}"
    return f"{first}  ({second})  {text}"


def _why_not(prediction: Prediction, space: LabelSpace) -> str:
    """Say why the likelier label was not given, which would read as an error: it stays under its threshold."""
    is_likelier = (prediction.runner_up_probability or 0.0) > prediction.probability
    if prediction.threshold is None or prediction.runner_up != space.positive or not is_likelier:
        return ""
    return f" under {prediction.threshold:.3f}"


def json_line(prediction: Prediction | Unlabelled, bundle: Bundle) -> str:
    """Return a prediction as one line of JSON; `reason` says why there is no label."""
    if isinstance(prediction, Unlabelled):
        nothing = dict.fromkeys(["label", "probability", "runner_up", "runner_up_probability"])
        return json.dumps({"text": prediction.text[:1000], **nothing, "reason": prediction.reason}, ensure_ascii=False)
    said = asdict(prediction)
    if bundle.space.is_many:
        said["label"] = label_sets.read(prediction.label)
    if prediction.probabilities is None:
        del said["probabilities"]
    return json.dumps(said, ensure_ascii=False)


def left_out(predictions: Sequence[Prediction | Unlabelled]) -> str | None:
    """Say how many texts have no label, and why; None where all have one."""
    missing = [(number, one) for number, one in enumerate(predictions, start=1) if isinstance(one, Unlabelled)]
    if not missing:
        return None
    counts = Counter(one.reason for _, one in missing)
    first = {one.reason: number for number, one in reversed(missing)}
    reasons = ", ".join(f"{reason} {found:,} (the first is text {first[reason]:,})" for reason, found in counts.items())
    return f"predict: {count(len(missing), 'text')} of {len(predictions):,} without a label: {reasons}."


def _column(file: str, column: str) -> list[str]:
    """Read the texts of a table; an empty cell keeps its place.

    Raises:
        BadInput: it is no such table, lacks the column, or has a row that cannot be read.
    """
    from understudy.data.rows import Refusal  # most calls read no table
    from understudy.data.sources import opened

    with opened(file, ["text"], called={"text": column}) as source:
        if sum(one.path.stat().st_size for one in source.files) > MOST_PREDICT_BYTES:
            raise _too_large(file)
        rows = list(source.rows((), lenient=("text",)))
    if fault := next((row for row in rows if isinstance(row, Refusal)), None):
        raise BadInput(f"Each row must be readable, got {fault.reason} (row {fault.row:,} of {file}): {fault.detail}.")
    return [row.cells["text"] or "" for row in rows if not isinstance(row, Refusal)]


def _too_large(file: str) -> BadInput:
    return BadInput(
        f"Texts for predict must be at most {MOST_PREDICT_BYTES:,} bytes, got more ({file}). Label a file of any "
        "size by `understudy infer --bundle FOLDER --texts FILE`."
    )


def _lines(file: str) -> list[str]:
    try:
        data = _bytes(file)
    except (OSError, ValueError) as error:
        raise BadInput(f"Texts must be a readable UTF-8 file, one a line, got {error} ({file!r}).") from error
    if len(data) > MOST_PREDICT_BYTES:
        raise _too_large(file)
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _bytes(file: str) -> bytes:
    """Read no more than can be taken and a byte, for a pipe or a device may never end."""
    if file == STDIN:
        return sys.stdin.buffer.read(MOST_PREDICT_BYTES + 1)
    with Path(file).open("rb") as stream:
        return stream.read(MOST_PREDICT_BYTES + 1)
