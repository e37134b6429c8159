"""Simulate an editor that revises a teacher's labels: what the step revise gains over raw labels and over revising all.

    make benchmark-revise [SIZE=small]

About 5 minutes on one core, or half a minute with SIZE=small. No model is trained and nobody is asked: labels are
drawn, and the step's own rules decide. A teacher finds 80% of the positives with 5% false alarms, and half as many in
a slice of 15%. Human labels for training: 400 positives and 400 others. The pool: 2,000 texts, half of them positive.
The editor is right about each text with the same chance, or, `alike`, as often as the teacher is among the texts that
it is asked about; where it is wrong it flips a right label, or leaves a wrong one. 1,500 answers of it may be bought,
proofs included. Revising all takes texts by lot until the money ends, and takes every revision, as the ablation of
arXiv 2511.03005 does.
"""

import os
import time

import numpy as np
import polars as pl

from benchmarks import audit_power
from benchmarks.figures import Figure, report
from understudy.progress import track
from understudy.stats.metrics import Floats, f1, wilson
from understudy.steps.revise import rules
from understudy.steps.revise.config import ReviseConfig
from understudy.task.card import Card

RIGHT = (None, 0.5, 0.6, 0.75, 0.9)  # shares of the editor's right answers; None is alike, 0.5 is chance
SIMULATIONS = {"": 400, "small": 40}
POOL, ANSWERS = 2_000, 1_500
MARK = "avoid"
CARD = Card.model_validate(
    {
        "name": "simulated",
        "question": "Is it a tip?",
        "labels": [{"name": "other", "definition": "No tip."}, {"name": "tip", "definition": "A tip."}],
        "positive_label": "tip",
        "rules": ["A tip is advice."],
        "slices": [{"name": MARK, "pattern": MARK}],
        "teacher": {"model": "m", "input_usd_per_million": 0, "output_usd_per_million": 0},
        "budget": {"teacher_usd": 1.0},
    }
)
NAMES = np.array(CARD.label_names)


def texts(rng: np.random.Generator, name: str, number: int) -> pl.DataFrame:
    """Draw texts as `audit_power` does: id, group, text, label (the true one) and teacher_label."""
    truth, given, inside = audit_power.answers(rng, is_biased=True)
    rows = rng.choice(len(truth), number, replace=number > len(truth))
    ids = [f"{name}-{row}" for row in range(number)]
    return pl.DataFrame(
        {
            "id": ids,
            "group": ids,
            "text": [f"{MARK} it" if is_inside else "a text" for is_inside in inside[rows]],
            "label": NAMES[truth[rows]],
            "teacher_label": NAMES[given[rows]],
        }
    )


def asked(rng: np.random.Generator, table: pl.DataFrame, right: float | None) -> pl.DataFrame:
    """Ask the simulated editor about texts, and return what `rules.revised` makes of it."""
    truth, given = (table[name].to_numpy() for name in ("label", "teacher_label"))
    flipped = np.where(given == NAMES[0], NAMES[1], NAMES[0])
    wrong = np.where(given == truth, flipped, given)
    said = np.where(rng.random(len(table)) < (np.mean(given == truth) if right is None else right), truth, wrong)
    return rules.revised(table, pl.DataFrame({"id": table["id"], "label": said, "rationale": table["text"]}))


def labels_after(pool: pl.DataFrame, revised: list[pl.DataFrame]) -> Floats:
    """Return the share of right labels and the F1 of the pool once revisions were taken, shape (2,)."""
    changed = [part.select("id", "revised_label") for part in revised]
    nothing = pl.DataFrame(schema={"id": pl.String, "revised_label": pl.String})
    table = pool.join(pl.concat([nothing, *changed]), on="id", how="left", maintain_order="left")
    final = table.with_columns(final=pl.coalesce("revised_label", "teacher_label"))
    truth, given = (final[name] == NAMES[1] for name in ("label", "final"))
    right = (truth == given).mean()
    return np.array([right, f1(truth.to_numpy(), given.to_numpy())])


def targeted(
    rng: np.random.Generator, human: pl.DataFrame, pool: pl.DataFrame, right: float | None
) -> tuple[Floats, int, int]:
    """Revise as the step does: the pool's labels after it, kinds of errors tried, and accepted."""
    config, left, revised = ReviseConfig(), ANSWERS, list[pl.DataFrame]()
    kinds = rules.candidates(human, list(CARD.slices), CARD, config)
    accepted = []
    for kind in kinds:
        proof = rules.part(human, kind, config).proof
        left -= len(proof)
        accepted += [kind] if rules.is_better(rules.tested(asked(rng, proof, right)), config.alpha) else []
    for kind in accepted:
        covered = pool.filter(pl.Series(kind.covers(pool))).head(max(left, 0))
        left -= len(covered)
        revised += [asked(rng, covered, right)] if len(covered) else []
    return labels_after(pool, revised), len(kinds), len(accepted)


def simulate(seed: int, right: float | None) -> tuple[dict[str, Floats], int, int]:
    """Draw one task; return the labels' figures raw, targeted and all revised, with the kinds tried and accepted."""
    rng = np.random.default_rng([seed, int(100 * (right or 0))])
    human, pool = texts(rng, "human", 800), texts(rng, "pool", POOL)
    after, tried, accepted = targeted(rng, human, pool, right)
    everywhere = labels_after(pool, [asked(rng, pool.head(ANSWERS), right)])
    return {"raw": labels_after(pool, []), "targeted": after, "all": everywhere}, tried, accepted


def mean(values: Floats) -> Figure:
    """Return a mean with its 95% interval over simulations."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return Figure(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


def main() -> None:
    """Simulate, and write build/benchmark-revise.json."""
    began, number = time.monotonic(), SIMULATIONS[os.environ.get("SIZE", "")]
    figures: dict[str, Figure] = {}
    with track(len(RIGHT) * number, "simulations") as progress:
        for right in RIGHT:
            done, key = [], "alike" if right is None else right
            for seed in range(number):
                done.append(simulate(seed, right))
                progress.advance()
            for place, name in enumerate(("precision", "f1")):
                found = {way: np.array([one[0][way][place] for one in done]) for way in ("raw", "targeted", "all")}
                figures[f"label_{name}_raw_{key}"] = mean(found["raw"])
                figures[f"arf_{name}_gain_{key}"] = mean(found["targeted"] - found["raw"])
                figures[f"arf_{name}_gain_over_all_{key}"] = mean(found["targeted"] - found["all"])
            tried, accepted = sum(one[1] for one in done), sum(one[2] for one in done)
            figures[f"arf_accepted_{key}"] = Figure.of(wilson(accepted, tried))
            figures[f"arf_harmed_{key}"] = Figure.of(
                wilson(sum(one[0]["targeted"][0] < one[0]["raw"][0] for one in done), number)
            )
    report("revise", figures, {"answers": ANSWERS, "pool": POOL}, range(number), time.monotonic() - began)


if __name__ == "__main__":
    main()
