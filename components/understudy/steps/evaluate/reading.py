"""Choose the errors that a person should read: those that the student was surest of first."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from understudy.stats import metrics
from understudy.stats.metrics import Floats
from understudy.steps.evaluate.rules import Answers, Truth, chances
from understudy.text import numbers

TEXT_SHOWN = 600
OF_A_PAIR = 5  # texts of one kind of mistake

Rows = Sequence[Mapping[str, Any]]


def of_positives(table: Rows, truth: Truth, answers: Answers, limit: int) -> dict[str, Any]:
    """Choose among what was missed and flagged wrongly of the label that is looked for.

    Args:
        table: a row a text, with `id`, `text`, `label`, `given`, `teacher_label` and `slices`.
        truth: human labels.
        answers: the student's, with probabilities.
        limit: most texts of each kind.

    Returns:
        "missed" and "false_alarms", each a list of texts with the probability of that label; and "counts" of all.
    """
    looked_for = truth.space.positive_index
    if looked_for is None or answers.probabilities is None:
        raise ValueError("Errors of positives must have a positive label and probabilities, got none of one.")
    probability = answers.probabilities[:, looked_for]
    is_positive, is_flagged = truth.codes == looked_for, answers.codes == looked_for
    missed = [index for index in np.argsort(probability, kind="stable") if is_positive[index] and not is_flagged[index]]
    alarms = [
        index for index in np.argsort(-probability, kind="stable") if is_flagged[index] and not is_positive[index]
    ]
    return {
        "missed": _shown(table, missed[:limit], probability),
        "false_alarms": _shown(table, alarms[:limit], probability),
        "counts": {"missed": len(missed), "false_alarms": len(alarms)},
    }


def of_pairs(table: Rows, truth: Truth, answers: Answers, limit: int) -> dict[str, Any]:
    """Choose among the texts of each mistake, a true label and the one given, the commonest mistake first.

    Args:
        table: a row a text, with `id`, `text`, `label`, `given`, `teacher_label` and `slices`.
        truth: human labels.
        answers: the student's, with probabilities.
        limit: most texts of all mistakes together.

    Returns:
        "pairs", each with `label`, `given`, `texts` and some `rows` with the probability of the label given; and
        "counts": how many texts are wrong, by how many kinds of mistakes.
    """
    probability = chances(answers)
    surest = np.argsort(-probability, kind="stable")
    kinds: dict[tuple[int, int], list[int]] = {}
    for index in surest[truth.codes[surest] != answers.codes[surest]].tolist():
        kinds.setdefault((int(truth.codes[index]), int(answers.codes[index])), []).append(index)
    pairs, left = [], limit
    for (true, given), members in sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0])):
        rows = _shown(table, members[: min(OF_A_PAIR, left)], probability)
        left -= len(rows)
        if rows:
            names = truth.space.names
            pairs.append({"label": names[true], "given": names[given], "texts": len(members), "rows": rows})
    counts = {"wrong": sum(map(len, kinds.values())), "kinds": len(kinds)}
    return {"pairs": pairs, "counts": counts}


def of_labels(table: Rows, truth: Truth, answers: Answers, limit: int) -> dict[str, Any]:
    """Choose among what was missed and given wrongly of each label, the label with the most mistakes first.

    Args:
        table: a row a text, with `id`, `text`, `label`, `given`, `teacher_label` and `slices`.
        truth: human labels, where a text may have several.
        answers: the student's, with probabilities.
        limit: most texts of all mistakes together.

    Returns:
        "labels", each with `label` and two kinds of mistakes, "missed" and "false_alarms", which have their number
        of `texts` and some `rows` with the probability of the label; and "counts": how many texts are wrong, and how
        many labels of texts are missed and given wrongly.
    """
    if answers.probabilities is None:
        raise ValueError("Errors of labels must have probabilities, got none. Ask for them only where there are.")
    kinds = {"missed": truth.codes & ~answers.codes, "false_alarms": answers.codes & ~truth.codes}
    mistaken = (kinds["missed"] | kinds["false_alarms"]).sum(axis=0)
    found, left = [], limit
    for label in sorted(np.flatnonzero(mistaken).tolist(), key=lambda label: -mistaken[label]):
        probability = answers.probabilities[:, label]
        surest = {
            "missed": np.argsort(probability, kind="stable"),
            "false_alarms": np.argsort(-probability, kind="stable"),
        }
        row: dict[str, Any] = {"label": truth.space.names[label]}
        for kind, is_so in kinds.items():
            members = surest[kind][is_so[surest[kind], label]]
            rows = _shown(table, members[: min(OF_A_PAIR, left)], probability)
            left -= len(rows)
            row[kind] = {"texts": len(members), "rows": rows}
        found += [row] if row["missed"]["rows"] or row["false_alarms"]["rows"] else []
    counts = {"wrong": int((~metrics.is_right(truth.codes, answers.codes)).sum()), "labels": int((mistaken > 0).sum())}
    return {"labels": found, "counts": counts | {kind: int(is_so.sum()) for kind, is_so in kinds.items()}}


def _shown(table: Rows, chosen: Iterable[int], probability: Floats) -> list[dict[str, Any]]:
    return [
        {
            **table[index],
            "text": numbers.clip(table[index]["text"], TEXT_SHOWN),
            "probability": round(float(probability[index]), 4),
        }
        for index in map(int, chosen)
    ]
