"""Find labelled texts: `understudy search`."""

import json
from collections.abc import Mapping
from typing import Any

import click

from understudy.search import opening
from understudy.search import query as queries
from understudy.search.query import Answer, Query
from understudy.store.storage import Store, open_store
from understudy.task import label_sets
from understudy.text.numbers import clip, count

WIDTH = 110
FACETS = 5  # labels whose number of texts is told


@click.command("search")
@click.argument("words", nargs=-1)
@click.option("--store", required=True, help="Folder or s3://bucket/prefix whose nights are searched.")
@click.option("--label", help="Only texts with this label; [] for those with none, where a text may have several.")
@click.option(
    "--since", metavar="DAY", help="Only texts written since 2026-11-01, say; one without a time counts from its night."
)
@click.option("--limit", type=int, default=20, show_default=True, help="Most texts to print, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(
    words: tuple[str, ...], store: str, label: str | None, since: str | None, limit: int, as_json: bool
) -> None:
    """Find labelled texts that hold all of WORDS; words in double quotes must stand side by side.

    A line holds the day, the label and its probability, the text's id and the text. At the end stands how many texts
    were found, by label; a text that has several counts for each.
    """
    answer = search(open_store(store), queries.parse(" ".join(words), label, since, limit))
    for line in lines(answer, as_json=as_json):
        click.echo(line)
    click.echo(summary(answer), err=True)


def search(store: Store, query: Query) -> Answer:
    """Search the index that the environment names, else SQLite, filled from the store; the store is only read.

    Raises:
        BadInput: the store has no night yet.
        IndexFailed: the server does not answer, or holds no index of this card.
    """
    with opening.opened_for_search(store) as index:
        return index.search(query)


def lines(answer: Answer, *, as_json: bool) -> list[str]:
    """Write what was found, a line a text."""
    return [_json_line(found) if as_json else _line(found) for found in answer.documents]


def summary(answer: Answer) -> str:
    """Say how many were found, and of the commonest labels.

    >>> summary(Answer(3, [{}, {}], {"tip": 2, "other": 1}))
    "3 texts found (2 'tip', 1 'other'), the newest 2 shown; --limit shows more."
    """
    shown, labels = len(answer.documents), list(answer.labels.items())
    facets = [f"{number:,} '{label}'" for label, number in labels[:FACETS]]
    facets += [f"{count(len(labels) - FACETS, 'label')} more"] if len(labels) > FACETS else []
    facets += [f"{answer.without:,} {label_sets.NO_LABEL}"] if answer.without else []
    more = f", the newest {shown:,} shown; --limit shows more" if shown < answer.total else ""
    by_label = f" ({', '.join(facets)})" if facets else ""
    return f"{count(answer.total, 'text')} found{by_label}{more}."


def _line(found: Mapping[str, object]) -> str:
    day, text = str(found["when"])[:10], clip(str(found["text"]), WIDTH)
    label = found["label"] if isinstance(found["label"], str) else _words(found["label"])
    return f"{day}  {label}  {found['probability']:.2f}  {found['id']}  {text}"


def _words(labels: Any) -> str:
    return ", ".join(labels) or label_sets.NO_LABEL


def _json_line(found: Mapping[str, object]) -> str:
    return json.dumps(found, ensure_ascii=False, sort_keys=True)
