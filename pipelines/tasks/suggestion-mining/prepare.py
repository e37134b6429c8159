"""Turn SemEval-2019 Task 9 (Subtask A) into the three files that Understudy reads.

    python pipelines/tasks/suggestion-mining/prepare.py DATA_DIR OUT_DIR

DATA_DIR holds a_train.csv and a_test.csv (repository Semeval2019Task9/Subtask-A, CC BY-NC-SA 4.0). OUT_DIR gets
texts.csv (every sentence, grouped by forum post), labels.csv (a small budget of human labels: 400 for training, 400
for validation, 500 for calibration, and the whole official test set) and answers.csv (every label, for a rehearsal
teacher).
"""

import csv
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

BUDGET = {"train": 400, "validation": 400, "calibration": 500}
LABELS = {"0": "other", "1": "suggestion"}
Row = tuple[str, str, str, str]  # id, group, text, label


def rows_of(path: Path, part: str) -> Iterator[Row]:
    """Read one official file: id, sentence, label, without a header; some sentences are wrapped in extra quotes."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for number, (post, sentence, label) in enumerate(csv.reader(file), start=1):
            text = sentence.strip().strip('"').strip()
            group = f"{part}-{post.partition('_')[0]}"
            yield f"{part}-{number}", group, text, LABELS[label]


def assign_splits(rows: list[Row]) -> dict[str, str]:
    """Spend the budget on whole posts, in an order that no label decides. Returns split by group."""
    splits: dict[str, str] = {}
    left = dict(BUDGET)
    sizes: dict[str, int] = {}
    for _, group, _, _ in rows:
        sizes[group] = sizes.get(group, 0) + 1
    for group in sorted(sizes, key=lambda group: hashlib.sha256(group.encode()).hexdigest()):
        split = next((name for name, count in left.items() if count > 0), None)
        if split is None:
            break
        splits[group] = split
        left[split] -= sizes[group]
    return splits


def write(path: Path, header: list[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([tuple(header), *rows])


def main(data: Path, out: Path) -> None:
    """Read the official files and write ours."""
    train = [row for row in rows_of(data / "a_train.csv", "train") if row[2]]
    test = [row for row in rows_of(data / "a_test.csv", "test") if row[2]]
    splits = assign_splits(train) | {group: "test" for _, group, _, _ in test}
    everything = train + test
    out.mkdir(parents=True, exist_ok=True)
    write(out / "texts.csv", ["id", "group", "text"], [(id_, group, text) for id_, group, text, _ in everything])
    labelled = [(id_, label, splits[group]) for id_, group, _, label in everything if group in splits]
    write(out / "labels.csv", ["id", "label", "split"], labelled)
    write(out / "answers.csv", ["text", "label"], [(text, label) for _, _, text, label in everything])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
