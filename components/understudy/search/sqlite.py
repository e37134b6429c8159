"""Index and search in one SQLite file with full-text search, a cache of the store."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import polars as pl

from understudy.errors import IndexFailed
from understudy.search.backend import Taken
from understudy.search.documents import DOCUMENT_ID, DOCUMENT_VERSION, FIELDS
from understudy.search.query import NO_LABEL, Answer, Query
from understudy.store.cache import open_database
from understudy.store.tombstones import Forgotten
from understudy.task import label_sets

# Every statement is built from these names of our own.
# ruff: noqa: S608
REALS = ("probability", "runner_up_probability", "threshold")
TYPES = dict.fromkeys(REALS, "REAL") | dict.fromkeys(("generation", "windows", "start", "end"), "INTEGER")
NAMES = (DOCUMENT_ID, DOCUMENT_VERSION, *FIELDS)
COLUMNS = ", ".join(f'"{name}"' for name in NAMES)
REPLACED = ", ".join(f'"{name}" = excluded."{name}"' for name in NAMES[1:])
# The words stand apart from the documents, which hold the text once: triggers keep the two alike.
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS documents (
    row INTEGER PRIMARY KEY, {DOCUMENT_ID} TEXT NOT NULL UNIQUE, {DOCUMENT_VERSION} INTEGER NOT NULL,
    {", ".join(f'"{name}" {TYPES.get(name, "TEXT")}' for name in FIELDS)});
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
    text, content='documents', content_rowid='row', tokenize="unicode61 remove_diacritics 0 tokenchars '_'");
CREATE TRIGGER IF NOT EXISTS document_added AFTER INSERT ON documents BEGIN
    INSERT INTO words(rowid, text) VALUES (new.row, new.text); END;
CREATE TRIGGER IF NOT EXISTS document_removed AFTER DELETE ON documents BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.row, old.text); END;
CREATE TRIGGER IF NOT EXISTS document_replaced AFTER UPDATE OF text ON documents WHEN old.text IS NOT new.text BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.row, old.text);
    INSERT INTO words(rowid, text) VALUES (new.row, new.text); END;
CREATE TABLE IF NOT EXISTS segments (segment TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (hash TEXT PRIMARY KEY) WITHOUT ROWID;
"""
UPSERT = f"""INSERT INTO documents ({COLUMNS}) VALUES ({", ".join("?" * len(NAMES))})
    ON CONFLICT ({DOCUMENT_ID}) DO UPDATE SET {REPLACED}
    WHERE excluded.{DOCUMENT_VERSION} >= documents.{DOCUMENT_VERSION}"""
PAGE_CACHE_KIB = 128 * 1024
CHECKPOINT_PAGES = 16_000  # 64 MB of log: 10% faster than the default of 4 MB at 300,000 documents
# Of several labels of a text the list stands in `label` as a blob of JSON, which no label's name is.
HAS_LABEL = """(label = ? OR (typeof(label) = 'blob' AND ? IN (SELECT value FROM json_each(CAST(label AS TEXT)))))"""
STEM = "nullif(rtrim(id, '0123456789'), id)"  # of a sentence's id: all but its number
SCHEMA_HASH = hashlib.sha256(SCHEMA.encode()).hexdigest()[:8]


class SqliteIndex:
    """Documents in a SQLite file.

    Args:
        folder: of the cache.
        name: of the file, without its ending; another schema gets another file.
    """

    can_refuse = False

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}-{SCHEMA_HASH}.sqlite"
        self.key, self.place = "sqlite", f"SQLite ({self.path})"
        for old in folder.glob(f"{escape(name)}-*.sqlite*"):
            if not old.name.startswith(self.path.name):
                old.unlink(missing_ok=True)
        self._file = open_database(self.path, _connect)

    def missing(self, segments: Sequence[str]) -> list[str]:
        """Return those of the segments that were not added yet."""
        with self._explained():
            known = {name for (name,) in self._file.execute("SELECT segment FROM segments")}
        return [name for name in segments if name not in known]

    def add(self, segment: str, documents: pl.DataFrame, *, is_whole: bool = True) -> Taken:
        """Write documents in one transaction with the note that their segment was added."""
        with self._writing() as file:
            before = file.total_changes
            written = file.executemany(UPSERT, _kept(documents).iter_rows()).rowcount
            if is_whole:
                file.execute("INSERT OR IGNORE INTO segments VALUES (?)", (segment,))
        written = written if written >= 0 else file.total_changes - before
        return Taken(written=written, older=len(documents) - written)

    def settle(self, segment: str) -> None:
        """Note that a segment was added."""
        with self._writing() as file:
            file.execute("INSERT OR IGNORE INTO segments VALUES (?)", (segment,))

    def search(self, query: Query) -> Answer:
        """Find documents, newest first."""
        where, values = _conditions(query)
        columns = ", ".join(f'"{name}"' for name in FIELDS)
        with self._explained():
            labels = self._file.execute(
                f"SELECT label, count(*) FROM documents{where} GROUP BY label", values
            ).fetchall()
            rows = self._file.execute(
                f'SELECT {columns} FROM documents{where} ORDER BY "when" DESC, id LIMIT ?',
                (*values, query.limit),
            ).fetchall()
        found = [{name: _read(cell) for name, cell in zip(FIELDS, row, strict=True)} for row in rows]
        return Answer(sum(number for _, number in labels), found, *_facets(labels))

    def count(self) -> int:
        """Return how many documents there are."""
        with self._explained():
            return int(self._file.execute("SELECT count(*) FROM documents").fetchone()[0])

    def remove(self, ids: Collection[str], groups: Collection[str] = (), split: Collection[str] = ()) -> int:
        """Remove the documents of these texts, groups, and sentences of split texts."""
        stems = [f"{name}#" for name in split]
        with self._writing() as file:
            removed = _delete(file, "id", ids) + _delete(file, '"group"', groups) + _delete(file, STEM, stems)
        if removed:
            self._wipe()
        return removed

    def remove_forgotten(self, gone: Forgotten) -> None:
        """Remove what was forgotten since the last time, maybe by a command on another machine."""
        with self._explained():
            known = {name for (name,) in self._file.execute("SELECT hash FROM forgotten")}
            if not gone.hashes - known:
                return
            table = pl.DataFrame(
                self._file.execute('SELECT id, "group" FROM documents').fetchall(),
                schema={"id": pl.String, "group": pl.String},
                orient="row",
            )
        self.remove(table.filter(gone.covers(table))["id"].to_list())
        with self._writing() as file:
            file.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", [(name,) for name in gone.hashes])

    def expire(self, before: str) -> int:
        """Remove the documents of nights before a date."""
        with self._writing() as file:
            return file.execute('DELETE FROM documents WHERE "date" < ?', (before,)).rowcount

    def forget_progress(self) -> None:
        """Take it that no segment was added yet."""
        with self._writing() as file:
            file.execute("DELETE FROM segments")

    def finish(self) -> None:
        """Do nothing: what was committed is seen."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _wipe(self) -> None:
        """Write the file anew, so that nothing of a removed text is left in its free pages or in its words."""
        with self._explained():
            self._file.execute("INSERT INTO words(words) VALUES ('optimize')")
            self._file.execute("VACUUM")
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file's one write lock from before the first read, so that two runs wait for one another."""
        with self._explained():
            self._file.execute("BEGIN IMMEDIATE")
            with self._file:
                yield self._file

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise IndexFailed(
                f"The index must be a file that SQLite can read and write, got {error} ({self.path}). Make room, or "
                "delete the file: it is filled again from the store."
            ) from error


def _kept(documents: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of the table; lists of labels as blobs of JSON."""
    table = documents.select(NAMES)
    if table["label"].dtype == pl.String():
        return table
    lists = [label_sets.written(labels).encode() for labels in table["label"].to_list()]
    return table.with_columns(pl.Series("label", lists, dtype=pl.Binary()))


def _read(cell: Any) -> Any:
    return json.loads(cell) if isinstance(cell, bytes) else cell


def _facets(counted: Sequence[tuple[Any, int]]) -> tuple[dict[str, int], int]:
    """Return the texts of each label, the commonest first, and those that have none of several."""
    each, without = Counter[str](), 0
    for label, texts in counted:
        names = _read(label)
        each.update(dict.fromkeys([names] if isinstance(names, str) else names, texts))
        without += 0 if names else texts
    return dict(sorted(each.items(), key=lambda one: (-one[1], one[0]))), without


def _delete(file: sqlite3.Connection, column: str, names: Collection[str]) -> int:
    statement = f"DELETE FROM documents WHERE {column} IN (SELECT value FROM json_each(?))"
    return file.execute(statement, (json.dumps(sorted(names)),)).rowcount if names else 0


def _conditions(query: Query) -> tuple[str, list[Any]]:
    """Write a query's conditions as SQL with its values."""
    conditions, values = [], list[Any]()
    if query.phrases:
        conditions.append("row IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(" AND ".join('"{}"'.format(phrase.replace('"', '""')) for phrase in query.phrases))
    if query.label is not None:
        is_none = query.label == NO_LABEL
        conditions.append("label IN (?, ?)" if is_none else HAS_LABEL)
        values += [query.label, query.label.encode() if is_none else query.label]
    if query.since is not None:
        conditions.append('"when" >= ?')
        values.append(query.since.isoformat())
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), values


def _connect(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=120.0, isolation_level=None)
    try:
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("PRAGMA synchronous=NORMAL")
        file.execute(f"PRAGMA cache_size=-{PAGE_CACHE_KIB}")
        file.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        if file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'segments'").fetchone()[0] == 0:
            file.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        file.execute("SELECT count(*) FROM segments").fetchone()
    except sqlite3.DatabaseError:
        file.close()
        raise
    return file
