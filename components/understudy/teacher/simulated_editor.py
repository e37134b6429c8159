"""Answer as an editor in a simulation: right in a share of the texts, else wrong in the way that does harm."""

import json
import re
from collections.abc import Sequence

from understudy.stats import draw
from understudy.teacher.revision import ANSWERED
from understudy.text.context import parted

GIVEN = re.compile(rf"^{re.escape(ANSWERED)}(\{{.*\}})\s*\Z", re.MULTILINE)
SPAN_WORDS = 3
RIGHT = 0.9  # share of right answers where nobody says another


def given_in(message: str) -> str | None:
    r"""Return the label of which a message asks whether it is right; None where it asks for a label.

    >>> given_in('A text.\nIt was labelled: {"label": "tip"}'), given_in("A text.")
    ('tip', None)
    """
    found = GIVEN.search(message)
    return str(json.loads(found[1]).get("label")) if found else None


def revision(text: str, given: str, truth: str, labels: Sequence[str], right: float, seed: int) -> str:
    """Write the answer about a text: in the share `right` of the texts, its true label.

    In the others a right label is flipped to another one, and a wrong one stays.

    Args:
        text: that is asked about.
        given: the label that it was given.
        truth: its true label.
        labels: all of them.
        right: share of right answers, in [0, 1].
        seed: another seed is right on other texts.

    >>> revision("Ask for a room.", "other", "tip", ["other", "tip"], right=1.0, seed=0)
    '{"present": true, "label": "tip", "span": "Ask for a"}'
    >>> revision("Ask for a room.", "tip", "tip", ["other", "tip"], right=0.0, seed=0)
    '{"present": true, "label": "other", "span": "Ask for a"}'
    """
    others = [label for label in labels if label != given]
    label = given
    if draw.share(seed, "editor", text) < right:
        label = truth
    elif given == truth and others:
        label = others[int(draw.share(seed, "flipped", text) * len(others))]
    span = " ".join(parted(text)[1].split()[:SPAN_WORDS]) if label != given else ""
    return json.dumps({"present": label != given, "label": label, "span": span}, ensure_ascii=False)
