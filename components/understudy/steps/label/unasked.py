"""Leave what label leaves where the student learns from people alone, and nobody asks a teacher."""

from contextlib import closing
from pathlib import Path

from understudy.runtime.shell import Result
from understudy.store import tables
from understudy.store.storage import Store
from understudy.task.card import Card
from understudy.teacher.answers import Spent, write_sent, write_spent
from understudy.teacher.labeller import Sent
from understudy.teacher.response_log import ResponseLog

WORDS = "nobody was asked: the student learns from people alone (train.stages)"


def leave(card: Card, store: Store, human_labels: int, judgements: Path, test_judgements: Path) -> Result:
    """Write no answers, and what the task has cost before.

    Args:
        card: the task.
        store: keeps the answers of other runs.
        human_labels: that people gave.
        judgements: of the texts for training, empty.
        test_judgements: of the test texts, empty.
    """
    for folder in (judgements, test_judgements):
        tables.write(tables.empty(tables.Judgements), tables.Judgements, folder)
        write_sent(folder, Sent(texts=0, left={}, unknown=0).as_record())
    with closing(ResponseLog(store, card.name, is_dry_run=True)) as log:
        roles = ("", *(each.role for each in card.roles()))
        spent_usd = round(sum(log.spent_usd(is_rehearsal=False, role=role) for role in roles), 6)
    write_spent(test_judgements, Spent.of(spent_usd, human_labels, [], is_rehearsal=False))
    figures = dict.fromkeys(("texts", "asked", "from_store", "failed", "left_the_house", "cost_usd"), 0)
    parameters: dict[str, str | bool] = {"judge": "", "is_rehearsal": False, "budget_spent": False}
    return Result(headline=WORDS, metrics=figures, parameters=parameters)
