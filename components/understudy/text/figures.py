"""Name the figures that a classifier is measured by, so that gates, the report and the model card say the same."""

TITLES = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "ece": "ECE",
    "brier": "Brier score",
}
OF_ONE_LABEL = ("f1", "precision", "recall", "macro_f1", "ece", "brier")  # shown where one label is looked for
OF_ALL_LABELS = ("macro_f1", "accuracy", "weighted_f1", "ece", "brier")  # and where all matter alike


def primary(positive_label: str | None) -> str:
    """Name the figure that decides: F1 of the label that is looked for, else the mean F1 of all labels.

    >>> primary("tip"), primary(None)
    ('f1', 'macro_f1')
    """
    return "macro_f1" if positive_label is None else "f1"


def shown(positive_label: str | None) -> tuple[str, ...]:
    """Name the figures of a table, the one that decides first."""
    return OF_ALL_LABELS if positive_label is None else OF_ONE_LABEL


def in_a_line(positive_label: str | None) -> tuple[str, ...]:
    """Name the figures that a terminal's width has room for, the one that decides first."""
    own = ("macro_f1", "accuracy", "weighted_f1") if positive_label is None else ("f1", "precision", "recall")
    return (*own, "ece")


def of_parts(positive_label: str | None) -> tuple[str, ...]:
    """Name the figures of a part of the texts, the one that decides first."""
    return ("macro_f1", "accuracy") if positive_label is None else ("f1", "precision", "recall")


def headed(name: str) -> str:
    """Write a figure's name at the beginning of a sentence or a column.

    >>> headed("macro_f1"), headed("recall"), headed("ece")
    ('Macro F1', 'Recall', 'ECE')
    """
    title = TITLES.get(name, name)
    return title[:1].upper() + title[1:]
