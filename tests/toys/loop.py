"""What a toy step leaves in the store as mine does, where TOY_LOOP asks for it: a queue, and the record of a cycle."""

import os

import polars as pl

from tests.conftest import card_yaml
from tests.queues import contested
from understudy.review import labels
from understudy.store import cycles, layout
from understudy.store.codecs import as_parquet
from understudy.store.cycles import Cycle
from understudy.store.storage import open_store

TEXTS = 3  # that each queue asks about


def leave(address):
    if "TOY_LOOP" not in os.environ:
        return
    store = open_store(address)
    given = labels.read_all(store, "toy")["id"].n_unique()
    store.put_if_absent(layout.CARDS.key(card="toy", name="a" * 64), card_yaml(name="toy").encode())
    ids = [f"t{given + number}" for number in range(TEXTS)]
    table = contested({"id": ids, "group": ids, "text": [f"Text {name}" for name in ids]})
    queue = f"after-{given}"
    store.put_if_absent(layout.QUEUE_TABLES.key(card="toy", queue=queue, name="queue"), as_parquet(table))
    cycle = Cycle(
        card="toy",
        bundle=f"toy-{given}",
        recorded="2026-12-01T00:00:00Z",
        taught_by_people=given,
        human_labels=given,
        trained_texts=given,
        teacher_usd=0.0,
        decision="publish",
        queue=queue,
        queued=TEXTS,
        is_rehearsal=True,
    )
    answers = {"id": ["v1"], "group": ["v1"], "label": ["tip"], "answer": ["tip"]}
    cycles.put(store, cycle, pl.DataFrame(answers))
