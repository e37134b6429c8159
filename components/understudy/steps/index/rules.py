"""Judge whether the index took enough of a night."""

from understudy.errors import IndexFailed
from understudy.search.sync import Followed
from understudy.text.numbers import count


def require_taken(done: Followed, max_refused_share: float, place: str) -> None:
    """Refuse a run of which the index refused too much: then the mapping is at fault, not a text.

    What earlier runs left as dead letters counts too, against all that the index should hold: a gate that did not hold
    once holds again.

    Raises:
        IndexFailed: with the first reason.
    """
    reason = done.first.reason if done.first else "no reason"
    if done.refused > max_refused_share * done.documents:
        raise IndexFailed(
            f"The index must refuse at most {max_refused_share:.0%} of the documents, got {done.refused:,} of "
            f"{done.documents:,} refused: {reason} ({place}). Mend the cause, then run it again: what was refused is "
            "sent again."
        )
    wanted = done.held + done.waiting
    if done.waiting > max_refused_share * wanted:
        raise IndexFailed(
            f"The index must lack at most {max_refused_share:.0%} of its documents, got {done.waiting:,} of {wanted:,} "
            f"that wait as dead letters from earlier runs: {reason} ({place}). Mend the cause, then run "
            "`understudy index --replay`."
        )


def headline(done: Followed, total: int, place: str) -> str:
    """Say what was done.

    >>> headline(Followed(segments=2, documents=10, written=9, older=0, refused=1, waiting=3), 9, "SQLite")
    '9 documents added, 1 refused, 3 wait from earlier runs (dead-letters/); 9 documents in SQLite'
    """
    older = f", {done.older:,} left as they are: a newer answer stands" if done.older else ""
    refused = f", {done.refused:,} refused" if done.refused else ""
    waiting = f", {done.waiting:,} wait{'s' * (done.waiting == 1)} from earlier runs" if done.waiting else ""
    where = " (dead-letters/)" if refused or waiting else ""
    added = f"{count(done.written, 'document')} added{older}{refused}{waiting}{where}"
    return f"{added}; {count(total, 'document')} in {place}"
