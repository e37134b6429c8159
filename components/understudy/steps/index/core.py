"""When the index took enough of a night, and the sentence about it."""

from understudy.errors import IndexFailed
from understudy.index.following import Followed
from understudy.wording import count


def require_taken(done: Followed, max_refused_share: float, place: str) -> None:
    """Refuse a night of which the index refused too much: then the mapping is at fault, not a text.

    Raises:
        IndexFailed: with the first reason.
    """
    if done.refused > max_refused_share * done.documents:
        reason = done.first.reason if done.first else "no reason"
        raise IndexFailed(
            f"The index must refuse at most {max_refused_share:.0%} of the documents, got {done.refused:,} of "
            f"{done.documents:,} refused: {reason} ({place}). Mend the cause, then run `understudy index --replay`."
        )


def headline(done: Followed, total: int, place: str) -> str:
    """Say what was done.

    >>> headline(Followed(segments=2, documents=10, written=9, older=0, refused=1), 9, "SQLite")
    '9 documents added, 1 refused (dead-letters/); 9 documents in SQLite'
    """
    older = f", {done.older:,} left as they are: a newer answer stands" if done.older else ""
    refused = f", {done.refused:,} refused (dead-letters/)" if done.refused else ""
    return f"{count(done.written, 'document')} added{older}{refused}; {count(total, 'document')} in {place}"
