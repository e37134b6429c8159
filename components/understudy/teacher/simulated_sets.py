"""Write a simulated teacher's list of labels as tokens, and how sure it is of each of them.

A label's yes or no is decided where the list comes to it: a token there is the next name with the sign before it, or
the end of the list. So the log-probabilities of these tokens say what `logprobs.set_probabilities` reads from them.
"""

import json
from collections.abc import Mapping, Sequence

from understudy.task import label_sets
from understudy.teacher.injected_errors import InjectedAnswer, confidence

END = "]"
Listed = tuple[str, float]  # what could stand in a place, and its probability


def chances(content: str, seed: int, given: str, known: InjectedAnswer | None, labels: Sequence[str]) -> list[float]:
    """Chance that the teacher gives each label to a text, shape (labels,).

    It is less sure of a label that it gives or leaves out wrongly. The doubt in what it leaves out rightly is shared
    among those labels.

    Args:
        content: hash of the text.
        seed: of the errors.
        given: the labels that it gives.
        known: what was planned for the text; none where it guesses.
        labels: names of all labels.
    """
    said, true = label_sets.read(given), label_sets.read(known.true if known else given)
    left_out = len(labels) - len(said)
    found = []
    for name in labels:
        is_wrong = (name in said) != (name in true)
        why = "guess" if known is None else known.why if is_wrong else ""
        sure = confidence(seed, f"{content} {name}", why)
        found.append(sure if name in said else (1 - sure) / (1 if is_wrong else left_out))
    return found


def tokens_of(given: str, chance_of: Mapping[str, float], most: int) -> list[tuple[str, list[Listed]]]:
    """Write a list's names and its end as tokens, each with what could stand in its place, likeliest first.

    Args:
        given: the labels.
        chance_of: chance of each label by itself, in the card's order.
        most: alternatives of a token, the one that is written always among them.

    >>> [(token, [(other, round(chance, 2)) for other, chance in listed])
    ...  for token, listed in tokens_of('["tip"]', {"praise": 0.5, "tip": 0.8, "wish": 0.2}, most=2)]
    [('"tip"', [('"praise"', 0.5), ('"tip"', 0.4)]), (']', [(']', 0.8), (', "wish"', 0.2)])]
    """
    names, before = list(chance_of), ""
    written: list[tuple[str, list[Listed]]] = []
    for name in [*label_sets.read(given), None]:
        left = 1.0
        listed: dict[str, float] = {}
        for other in names:
            listed[f"{before}{json.dumps(other, ensure_ascii=False)}"] = left * chance_of[other]
            left *= 1 - chance_of[other]
        listed[END] = left
        token = END if name is None else f"{before}{json.dumps(name, ensure_ascii=False)}"
        ranked = sorted(listed.items(), key=lambda item: -item[1])
        shown = ranked[:most] if token in dict(ranked[:most]) else [*ranked[: most - 1], (token, listed[token])]
        written.append((token, [item for item in shown if item[1] > 0]))
        names = names[names.index(name) + 1 :] if name is not None else []
        before = ", "
    return written
