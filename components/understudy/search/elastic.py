"""Index and search in Elasticsearch 9: one concrete index a mapping, an alias, a strict template.

    understudy.<card>            the alias
    understudy.<card>.<hash>     an index; the hash is that of its settings and mapping
    indexed/<uuid>/<segment>     in the store: the segment is in the index of this uuid; one of which documents were
                                 refused is noted only after the verdict on the whole run
    dead-letters/<uuid>/...      what that index refused

A changed mapping has another hash: the new index is filled from the store while the old one serves, then the alias is
moved and the old one removed in one call. An index that was emptied has another uuid, so all segments are sent again.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import elasticsearch
import polars as pl

from understudy.errors import IndexFailed
from understudy.runtime.retry import patiently
from understudy.search import dead_letters
from understudy.search.backend import Taken
from understudy.search.bulk import Sender, patience_of
from understudy.search.connection import explained, is_busy, open_client
from understudy.search.documents import FIELDS
from understudy.search.query import NO_LABEL, Answer, Query
from understudy.search.settings import IndexConfig
from understudy.store import codecs, layout
from understudy.store.storage import Store
from understudy.store.tombstones import Forgotten
from understudy.task.card import MOST_LABELS
from understudy.text.sentences import text_id_of

KEYWORD = {"type": "keyword"}
FIELD_TYPES: dict[str, dict[str, Any]] = {
    "id": KEYWORD,
    "group": KEYWORD,
    "time": {"type": "keyword", "ignore_above": 256},
    "when": {"type": "date"},
    "text": {"type": "text", "analyzer": "standard"},
    "content": KEYWORD,
    "label": KEYWORD,
    "probability": {"type": "double"},
    "runner_up": KEYWORD,
    "runner_up_probability": {"type": "double"},
    "threshold": {"type": "double"},
    "version": KEYWORD,
    "generation": {"type": "long"},
    "date": {"type": "date", "format": "strict_date"},
    "stage": KEYWORD,
    "windows": {"type": "integer"},
    "start": {"type": "integer"},
    "end": {"type": "integer"},
    "scored_at": {"type": "date"},
}
MAPPING: dict[str, Any] = {"dynamic": "strict", "properties": {name: FIELD_TYPES[name] for name in FIELDS}}
FACETS: dict[str, Any] = {
    "labels": {"terms": {"field": "label", "size": MOST_LABELS}},
    "without": {"missing": {"field": "label"}},
}
PRIORITY = 500
PAGE = 5000
NAMES_AT_ONCE = 1000  # ids or groups of one query: of 4,096 characters each, far below what the server takes
STEMS_AT_ONCE = 100  # texts whose sentences one query looks for: a range each, of which it takes 1,024
Answered = TypeVar("Answered")


class ElasticIndex:
    """The documents of one card in Elasticsearch.

    Args:
        url: of the server.
        card_name: name of the task card; a dot, which no name of a card holds, ends it in the names of indices.
        store: keeps which segments were added.
        config: settings of the step index.
        mapping: of the documents.
    """

    can_refuse = True

    def __init__(
        self, url: str, card_name: str, store: Store, config: IndexConfig, mapping: Mapping[str, Any] = MAPPING
    ) -> None:
        self.url, self.alias = url, f"understudy.{card_name}"
        self._store, self._config, self._mapping = store, config, dict(mapping)
        self._fixed = {"number_of_shards": config.shards}
        digest = hashlib.sha256(codecs.canonical([self._fixed, self._mapping])).hexdigest()[:12]
        self.name = f"{self.alias}.{digest}"
        self.place = f"Elasticsearch ({self.alias} at {url})"
        self._client = open_client(url, config.timeout_s)
        self._sender = Sender(self._client, url, self.name, config)
        self.key = ""

    def prepare(self) -> None:
        """Put the template and make the index, unless it is there.

        Raises:
            BadInput: the key is refused, or the server is not Elasticsearch 9.
            IndexFailed: the server does not answer.
        """
        settings = {**self._fixed, "number_of_replicas": self._config.replicas}
        with explained(self.url):
            self._asked(
                lambda: self._client.indices.put_index_template(
                    name=self.alias,
                    index_patterns=[f"{self.alias}.*"],
                    priority=PRIORITY,
                    template={"settings": {"index": settings}, "mappings": self._mapping},
                )
            )
            try:
                self._asked(lambda: self._client.indices.create(index=self.name))
            except elasticsearch.BadRequestError as error:
                if error.error != "resource_already_exists_exception":
                    raise
            found = self._asked(lambda: self._client.indices.get_settings(index=self.name))
            self.key = dead_letters.require_index(found[self.name]["settings"]["index"]["uuid"], self.url)

    def missing(self, segments: Sequence[str]) -> list[str]:
        """Return those of the segments that were not added to the index of this uuid."""
        known = set(self._store.list(layout.INDEXED.prefix(index=self.key)))
        return [segment for segment in segments if self._mark(segment) not in known]

    def add(self, segment: str, documents: pl.DataFrame, *, is_whole: bool = True) -> Taken:
        """Send documents; once a whole segment is acknowledged and nothing of it refused, say so in the store."""
        taken = self._sender.send(documents)
        if is_whole and not taken.letters:
            self.settle(segment)
        return taken

    def settle(self, segment: str) -> None:
        """Say in the store that a segment is in this index, but for its dead letters."""
        self._store.put_if_absent(self._mark(segment), b'{"format": 1}')

    def search(self, query: Query) -> Answer:
        """Find documents through the alias, newest first."""
        filters: list[dict[str, Any]] = []
        if query.label is not None:
            filters.append(_with_label(query.label))
        if query.since is not None:
            filters.append({"range": {"when": {"gte": query.since.isoformat()}}})
        phrases = [{"match_phrase": {"text": phrase}} for phrase in query.phrases]
        with explained(self.url):
            try:
                found = self._asked(
                    lambda: self._client.search(
                        index=self.alias,
                        query={"bool": {"filter": filters + phrases}},
                        sort=[{"when": "desc"}, {"id": "asc"}],
                        size=query.limit,
                        track_total_hits=True,
                        aggs=FACETS,
                    )
                )
            except elasticsearch.NotFoundError as error:
                raise self._empty() from error
            hits = found["hits"]
            facets = found["aggregations"]
            return Answer(
                int(hits["total"]["value"]),
                [dict(hit["_source"]) for hit in hits["hits"]],
                {str(bucket["key"]): int(bucket["doc_count"]) for bucket in facets["labels"]["buckets"]},
                int(facets["without"]["doc_count"]),
            )

    def count(self) -> int:
        """Return how many documents the index has."""
        with explained(self.url):
            self._asked(lambda: self._client.indices.refresh(index=self.name))
            return int(self._asked(lambda: self._client.count(index=self.name))["count"])

    def remove(self, ids: Collection[str], groups: Collection[str] = (), split: Collection[str] = ()) -> int:
        """Remove the documents of these texts, groups, and sentences of split texts from every index of the card."""
        named = {"id": {*ids, *self._sentences_of(split)}, "group": {*groups}}
        parts = [(field, part) for field, names in named.items() for part in _parts(names, NAMES_AT_ONCE)]
        return sum(self._delete({"terms": {field: part}}) for field, part in parts)

    def remove_forgotten(self, gone: Forgotten) -> None:
        """Do nothing: `understudy forget` removes from a server wherever it runs."""

    def expire(self, before: str) -> int:
        """Remove the documents of nights before a date."""
        return self._delete({"range": {"date": {"lt": before}}})

    def forget_progress(self) -> None:
        """Take it that no segment was added yet."""
        for key in self._store.list(layout.INDEXED.prefix(index=self.key)):
            self._store.delete(key)

    def finish(self) -> None:
        """Let searches see all that was added, and move the alias here if it is elsewhere."""
        with explained(self.url):
            self._asked(lambda: self._client.indices.refresh(index=self.name))
            served = self._served()
            if served != [self.name]:
                left = self._uuids(served)
                moved: list[dict[str, Any]] = [{"add": {"index": self.name, "alias": self.alias}}]
                moved += [{"remove_index": {"index": old}} for old in served if old != self.name]
                try:
                    self._asked(lambda: self._client.indices.update_aliases(actions=moved))
                except elasticsearch.NotFoundError:  # another run was first and has removed the old index
                    self._asked(lambda: self._client.indices.update_aliases(actions=moved[:1]))
                self._forget_notes(left - {self.key})

    def close(self) -> None:
        """Give back connections."""
        self._sender.close()
        self._client.close()

    def _mark(self, segment: str) -> str:
        return layout.INDEXED.key_from(layout.SEGMENTS, segment, index=self.key)

    def _served(self) -> list[str]:
        """Return the indices behind the alias."""
        with explained(self.url):
            try:
                return sorted(self._asked(lambda: self._client.indices.get_alias(name=self.alias)))
            except elasticsearch.NotFoundError:
                return []

    def _uuids(self, names: Sequence[str]) -> set[str]:
        if not names:
            return set()
        found = self._asked(lambda: self._client.indices.get_settings(index=list(names), ignore_unavailable=True))
        return {settings["settings"]["index"]["uuid"] for settings in found.values()}

    def _forget_notes(self, uuids: Collection[str]) -> None:
        """Delete what the store notes about indices that are no more."""
        prefixes = [family.prefix(index=uuid) for uuid in uuids for family in (layout.INDEXED, layout.DEAD_LETTERS)]
        for key in [key for prefix in prefixes for key in self._store.list(prefix)]:
            self._store.delete(key)

    def _delete(self, query: Mapping[str, Any]) -> int:
        """Delete what a query finds, page by page; a document that was replaced meanwhile is looked at again."""
        deleted = 0
        while hits := self._page(query):
            with explained(self.url):
                actions = [{"delete": {"_index": hit["_index"], "_id": hit["_id"], **_seen(hit)}} for hit in hits]
                statuses = self._asked(partial(self._deleted, actions))
            deleted += statuses.count(200)
            if not set(statuses) & {200, 404, 409}:
                raise IndexFailed(f"Elasticsearch must delete, got {statuses[0]} ({self.url}). Run it again.")
        return deleted

    def _deleted(self, actions: Sequence[Mapping[str, Any]]) -> list[int]:
        answer = self._client.bulk(operations=actions, refresh=True, filter_path="items.*.status")
        return [one["status"] for item in answer["items"] for one in item.values()]

    def _sentences_of(self, split: Collection[str]) -> Iterator[str]:
        """Find the ids of the sentences of texts; the server takes no long pattern, and finds what begins like them."""
        for part in _parts(split, STEMS_AT_ONCE):
            begins = [{"range": {"id": {"gte": f"{name}#0", "lt": f"{name}#:"}}} for name in part]  # ":" follows "9"
            after: list[str] | None = None
            while hits := self._page({"bool": {"should": begins}}, sort=[{"id": "asc"}], search_after=after):
                after = hits[-1]["sort"]
                yield from (name for hit in hits if text_id_of(name := hit["sort"][0]) in split)

    def _page(self, query: Mapping[str, Any], **order: Any) -> list[Any]:
        pattern = f"{self.alias}.*"
        with explained(self.url):
            self._asked(lambda: self._client.indices.refresh(index=pattern))
            found = self._asked(
                lambda: self._client.search(
                    index=pattern, query=dict(query), size=PAGE, source=False, seq_no_primary_term=True, **order
                )
            )
            return list(found["hits"]["hits"])

    def _asked(self, call: Callable[[], Answered]) -> Answered:
        """Ask the server, and again while it is busy or away: whatever is asked here may be asked twice."""
        return patiently(call, is_busy, patience_of(self._config))

    def _empty(self) -> Exception:
        return IndexFailed(
            f"Elasticsearch must hold the card's index, got none ({self.alias} at {self.url}). Fill it: understudy "
            "index --from-store."
        )


def _with_label(label: str) -> dict[str, Any]:
    """Ask for texts with a label, be it one of several; an empty list of labels is no field there."""
    own = {"term": {"label": label}}
    if label != NO_LABEL:
        return own
    return {"bool": {"should": [own, {"bool": {"must_not": {"exists": {"field": "label"}}}}]}}


def _parts(names: Collection[str], most: int) -> Iterator[list[str]]:
    ordered = sorted(names)
    return (ordered[begin : begin + most] for begin in range(0, len(ordered), most))


def _seen(hit: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a document only as it was found."""
    return {"if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}
