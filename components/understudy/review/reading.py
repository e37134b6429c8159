"""Help to read texts before the labels are fixed: what kinds there are, which look alike, what a draft's rules catch.

Texts are compared by the words that are frequent in them and rare elsewhere (TF-IDF), in a space of some dozens of
directions (latent semantic analysis). That finds topics and turns of phrase, not meanings: it is for reading, and
decides nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from understudy.stats.draw import lot
from understudy.task.card import WeakRule
from understudy.task.patterns import matches
from understudy.text.duplicates import jaccard, shingles
from understudy.text.language import KNOWN, WITHOUT_BLANKS
from understudy.text.normalise import content_hash

MOST_READ, FEWEST_READ = 20_000, 20  # texts
MOST_CLUSTERS, TEXTS_A_CLUSTER, MOST_DIRECTIONS, MOST_WORDS = 12, 50, 64, 30_000
SHOWN_TEXTS, SHOWN_WORDS, DIVERSE, PAIRS, NEAR_COPY = 3, 8, 24, 12, 0.8
FEWEST_WORDS = 10
SEED = 0

Vectors = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Texts that are alike: how many, their share, the words that set them apart, and those nearest to their middle."""

    size: int
    share: float
    words: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that are neighbours and no copies of each other, and their similarity, a cosine in [-1, 1]."""

    first: str
    second: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Caught:
    """What a weak rule catches: how many texts, their share, and how many of them a rule of another label too."""

    name: str
    label: str
    size: int
    share: float
    contested: int
    texts: tuple[str, ...]


def draw(texts: Sequence[str]) -> list[str]:
    """Keep each text once, and of many some by lot, in the order of the lots.

    Args:
        texts: any number; copies of one another but for case, signs and blanks count as one.
    """
    once = {content_hash(text): text for text in reversed(texts)}
    return [once[name] for name in sorted(once, key=lambda name: lot(SEED, name))[:MOST_READ]]


def read(texts: Sequence[str], rules: Sequence[WeakRule], language: str | None) -> dict[str, Any]:
    """Look at texts together: the record that the page shows.

    Args:
        texts: as `draw` returned them, at least `FEWEST_READ`.
        rules: weak rules of a draft card; none do.
        language: of the texts, where it is known.
    """
    small = "english" if language == "en" else sorted(KNOWN.get(language or "", ())) or None
    by: dict[str, Any] = {"stop_words": small}
    if language in WITHOUT_BLANKS:
        by = {"analyzer": "char_wb", "ngram_range": (1, 3)}
    vectorizer, weights = _weighed(texts, by)
    directions = max(1, min(MOST_DIRECTIONS, weights.shape[1] - 1))
    vectors = normalize(TruncatedSVD(directions, random_state=SEED).fit_transform(weights))
    names = vectorizer.get_feature_names_out()
    return {
        "texts": len(texts),
        "clusters": [asdict(cluster) for cluster in _clusters(texts, vectors, weights, names)],
        "diverse": [texts[index] for index in _spread(vectors, DIVERSE)],
        "pairs": [asdict(pair) for pair in _neighbours(texts, vectors)],
        **_rules(texts, rules),
    }


def _weighed(texts: Sequence[str], by: Mapping[str, Any]) -> tuple[TfidfVectorizer, Any]:
    """Weigh words; runs of signs where the texts have hardly any words, as where they are emoji."""
    with suppress(ValueError):  # no word is left
        vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=MOST_WORDS, **by)
        weights = vectorizer.fit_transform(texts)
        if weights.shape[1] > FEWEST_WORDS:
            return vectorizer, weights
    signs = TfidfVectorizer(sublinear_tf=True, max_features=MOST_WORDS, analyzer="char", ngram_range=(1, 3))
    return signs, signs.fit_transform(texts)


def _clusters(texts: Sequence[str], vectors: Vectors, weights: Any, names: Any) -> list[Cluster]:
    number = max(2, min(MOST_CLUSTERS, len(texts) // TEXTS_A_CLUSTER))
    model = MiniBatchKMeans(number, random_state=SEED, n_init=3).fit(vectors)
    usual = np.asarray(weights.mean(axis=0)).ravel()
    found = []
    for label, centre in enumerate(model.cluster_centers_):
        inside = np.flatnonzero(model.labels_ == label)
        if not len(inside):
            continue
        apart = np.asarray(weights[inside].mean(axis=0)).ravel() - usual
        words = tuple(str(names[place]) for place in np.argsort(-apart)[:SHOWN_WORDS] if apart[place] > 0)
        nearest = inside[np.argsort(-(vectors[inside] @ centre), kind="stable")[:SHOWN_TEXTS]]
        shown = tuple(texts[index] for index in nearest)
        found.append(Cluster(len(inside), len(inside) / len(texts), words, shown))
    return sorted(found, key=lambda cluster: -cluster.size)


def _spread(vectors: Vectors, number: int) -> list[int]:
    """Choose texts that are far from one another: each the farthest from all chosen before (Gonzalez, 1985)."""
    chosen = [0]
    nearest = vectors @ vectors[0]
    while len(chosen) < min(number, len(vectors)):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return chosen


def _neighbours(texts: Sequence[str], vectors: Vectors) -> list[Pair]:
    """Pair the texts that are most alike without being copies; each stands in one pair."""
    distances, places = NearestNeighbors(n_neighbors=2).fit(vectors).kneighbors(vectors)
    other = np.where(places[:, 1] == np.arange(len(texts)), places[:, 0], places[:, 1])
    order = np.argsort(distances[:, 1], kind="stable")
    pairs = ((int(index), int(other[index])) for index in order)
    apart = (pair for pair in pairs if jaccard(*(shingles(texts[index]) for index in pair)) < NEAR_COPY)
    met: set[int] = set()
    found: list[Pair] = []
    for first, second in apart:
        if len(found) == PAIRS or float(vectors[first] @ vectors[second]) <= 0:
            break
        if not {first, second} & met:
            met |= {first, second}
            found.append(Pair(texts[first], texts[second], float(vectors[first] @ vectors[second])))
    return found


def _rules(texts: Sequence[str], rules: Sequence[WeakRule]) -> dict[str, Any]:
    """Say what each rule catches, and how many texts none does."""
    hits = [matches(rule.pattern, texts) for rule in rules]
    nothing = np.zeros(len(texts), dtype=np.bool_)
    caught = []
    for rule, inside in zip(rules, hits, strict=True):
        others = [hit for one, hit in zip(rules, hits, strict=True) if one.label != rule.label]
        contested = int((inside & np.logical_or.reduce([nothing, *others])).sum())
        shown = tuple(texts[index] for index in np.flatnonzero(inside)[:SHOWN_TEXTS])
        size = int(inside.sum())
        caught.append(Caught(rule.name, rule.label, size, size / len(texts), contested, shown))
    uncaught = len(texts) - int(np.logical_or.reduce([nothing, *hits]).sum())
    return {"rules": [asdict(one) for one in caught], "uncaught": uncaught}
