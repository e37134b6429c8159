"""Name the figures that a classifier is measured by, so that gates, the report and the model card say the same.

Which are shown depends on what a card asks: for one label that is looked for, for one of all, or for several of a text.
"""

TITLES = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "ece": "ECE",
    "brier": "Brier score",
}
TITLES_OF_SEVERAL = {"accuracy": "exact match"}  # where a text is right only with all of its labels
OF_ONE_LABEL = ("f1", "precision", "recall", "macro_f1", "ece", "brier")  # shown where one label is looked for
OF_ALL_LABELS = ("macro_f1", "accuracy", "weighted_f1", "ece", "brier")  # where all matter alike
OF_SEVERAL = ("macro_f1", "micro_f1", "accuracy", "weighted_f1", "ece", "brier")  # and where a text may have several


def primary(positive_label: str | None) -> str:
    """Name the figure that decides: F1 of the label that is looked for, else the mean F1 of all labels.

    >>> primary("tip"), primary(None)
    ('f1', 'macro_f1')
    """
    return "macro_f1" if positive_label is None else "f1"


def shown(positive_label: str | None, *, is_many: bool = False) -> tuple[str, ...]:
    """Name the figures of a table, the one that decides first."""
    if is_many:
        return OF_SEVERAL
    return OF_ALL_LABELS if positive_label is None else OF_ONE_LABEL


def in_a_line(positive_label: str | None, *, is_many: bool = False) -> tuple[str, ...]:
    """Name the figures that a terminal's width has room for, the one that decides first."""
    return (*shown(positive_label, is_many=is_many)[:3], "ece")


def of_parts(positive_label: str | None, *, is_many: bool = False) -> tuple[str, ...]:
    """Name the figures of a part of the texts, the one that decides first."""
    if is_many:
        return ("macro_f1", "micro_f1")
    return ("macro_f1", "accuracy") if positive_label is None else ("f1", "precision", "recall")


def title(name: str, *, is_many: bool = False) -> str:
    """Write a figure's name within a sentence.

    >>> title("accuracy"), title("accuracy", is_many=True)
    ('accuracy', 'exact match')
    """
    return (TITLES_OF_SEVERAL if is_many else {}).get(name) or TITLES.get(name, name)


def headed(name: str, *, is_many: bool = False) -> str:
    """Write a figure's name at the beginning of a sentence or a column.

    >>> headed("macro_f1"), headed("recall"), headed("ece"), headed("accuracy", is_many=True)
    ('Macro F1', 'Recall', 'ECE', 'Exact match')
    """
    written = title(name, is_many=is_many)
    return written[:1].upper() + written[1:]
