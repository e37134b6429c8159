"""Learn labels from the words of a few texts, in seconds and on any machine, where no student is trained yet."""

from collections.abc import Mapping, Sequence

from understudy.stats.metrics import Bools, Floats
from understudy.text.normalise import normalise


def log_odds(texts: Sequence[str], has_label: Mapping[int, Bools], others: Sequence[str]) -> dict[int, Floats]:
    """Learn labels from some texts, and return how far other texts are on the side of each, in natural-log odds.

    Words and pairs of words (TF-IDF) and a logistic regression for each label in which both sides weigh the same.

    Args:
        texts: to learn from.
        has_label: which of these have each label, shape (texts,); both sides must occur.
        others: to be judged, at least one.

    Returns:
        of each label, shape (others,).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), tokenizer=str.split, token_pattern=None)
    vectorizer.fit(map(normalise, texts))  # a word that no answer was given to teaches nothing
    own, rest = (vectorizer.transform(map(normalise, part)) for part in (texts, others))
    return {
        label: LogisticRegression(class_weight="balanced", C=10.0, solver="liblinear")
        .fit(own, has)
        .decision_function(rest)
        for label, has in has_label.items()
    }
