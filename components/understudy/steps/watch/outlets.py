"""Send a verdict on: to a search index, Prometheus, whoever trains next, and a webhook on an alarm."""

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request

from understudy.errors import BadInput
from understudy.progress import say
from understudy.runtime.http import Unsent, send
from understudy.runtime.retry import Patience
from understudy.secrets.keys import redact
from understudy.store.hashing import hash_json
from understudy.store.watch_records import FORMAT, VERDICTS, Night

WEBHOOK = "UNDERSTUDY_WEBHOOK_URL"  # a secret, as most webhooks' addresses are: never in the card, never in a store
PATIENCE = Patience(retries=4, longest_pause_s=8, total_s=45)


def prometheus(night: Night) -> str:
    """Write a night's figures in Prometheus' text format."""
    card, about = _quoted(night.card), f'card="{_quoted(night.card)}",version="{_quoted(night.version)}"'
    lines = [
        "# HELP understudy_watch_value A series of the watch on its newest night.",
        "# TYPE understudy_watch_value gauge",
        *(f'understudy_watch_value{{{about},series="{name}"}} {value.value!r}' for name, value in night.series.items()),
        "# HELP understudy_watch_share Share of a label on the newest night: of the largest, and of those that moved.",
        "# TYPE understudy_watch_share gauge",
        *(
            f'understudy_watch_share{{{about},label="{_quoted(label)}"}} {share.value!r}'
            for label, share in night.shares.items()
        ),
        "# HELP understudy_watch_evidence Evidence of a change; 1 and more is an alarm.",
        "# TYPE understudy_watch_evidence gauge",
        *(
            f'understudy_watch_evidence{{{about},series="{name}"}} {value.evidence!r}'
            for name, value in night.series.items()
        ),
        "# HELP understudy_watch_alarm Whether an alarm stands.",
        "# TYPE understudy_watch_alarm gauge",
        *(
            f'understudy_watch_alarm{{{about},series="{name}"}} {int(value.is_standing)}'
            for name, value in night.series.items()
        ),
        "# HELP understudy_watch_verdict The verdict of the newest night: 1 for the one that holds.",
        "# TYPE understudy_watch_verdict gauge",
        *(f'understudy_watch_verdict{{{about},verdict="{name}"}} {int(night.verdict == name)}' for name in VERDICTS),
        "# HELP understudy_night_texts Texts labelled in the newest night.",
        "# TYPE understudy_night_texts gauge",
        f"understudy_night_texts{{{about}}} {night.texts}",
        "# HELP understudy_night_refused Rows refused in the newest night.",
        "# TYPE understudy_night_refused gauge",
        f"understudy_night_refused{{{about}}} {sum(night.refused.values())}",
        "# HELP understudy_night_date_seconds Midnight UTC of the newest night.",
        "# TYPE understudy_night_date_seconds gauge",
        f'understudy_night_date_seconds{{card="{card}"}} {_seconds(night.date)}',
    ]
    return "\n".join(lines) + "\n"


def write_prometheus(night: Night, path: Path) -> None:
    """Replace the collector's file whole: node_exporter must never read half of it.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
            file.write(prometheus(night))
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise BadInput(
            f"The file for Prometheus must be writable, got {error} (watch.prometheus_file). Make its folder."
        ) from error


def webhook_url() -> str:
    """Return the webhook's address; empty when there is none. Only the environment names one.

    Raises:
        BadInput: it is no http(s) address, or holds a user; it is not shown, for it is a secret.
    """
    url = os.environ.get(WEBHOOK, "").strip()
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_sound = False
    if not is_sound or "@" in parts.netloc or not all("!" <= sign <= "~" for sign in url):
        raise BadInput(
            f"A webhook must be an http(s) address of printable ASCII without user and password, got another one "
            f"({WEBHOOK}; the value is not shown). Mend it."
        )
    return url


def documents(night: Night) -> list[dict[str, Any]]:
    """Return the night as documents for a search index, one a series; `id` is the document's own.

    The watch's series have an index of their own beside that of the texts.
    """
    shared = {
        "date": night.date,
        "card": night.card,
        "version": night.version,
        "generation": night.generation,
        "verdict": night.verdict,
        "reason": night.reason,
        "texts": night.texts,
        "refused": sum(night.refused.values()),
    }
    return [
        {"id": f"{night.card}:{night.date}:{name}", "series": name, **shared, **asdict(value)}
        for name, value in night.series.items()
    ]


def trigger(night: Night) -> dict[str, Any]:
    """Return what `watch/retrain/<night>.json` says to whoever starts the next training run."""
    said = {name: getattr(night, name) for name in ("date", "card", "version", "generation", "reason", "is_rehearsal")}
    return {"format": FORMAT, **said, "evidence": list(night.evidence), "id": hash_json(said)[:12]}


def message(night: Night, report: str) -> dict[str, Any]:
    """Return what a webhook is told; `text` is what Slack, Mattermost and Teams' workflows show."""
    return {
        "text": redact(f"{night.card}, {night.date}: {night.verdict}. {night.reason}"),
        "card": night.card,
        "date": night.date,
        "version": night.version,
        "verdict": night.verdict,
        "reason": night.reason,
        "evidence": list(night.evidence),
        "alarms": [name for name, value in night.series.items() if value.is_alarm],
        "page": redact(report),
    }


def call(url: str, content: dict[str, Any]) -> bool:
    """Call a webhook; whether it took the message. A night never fails because nobody listens.

    It is called again while what is wrong may pass: a message may come twice where an answer was lost. A redirect is
    not followed: the address is a secret of this one host.
    """
    request = Request(  # noqa: S310 - `webhook_url` lets http(s) through only
        url, json.dumps(content).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        send(request, PATIENCE)
    except Unsent as error:
        say(f"watch: the webhook did not take the alarm ({error}); the next run of this night tries again.")
        return False
    return True


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _seconds(date: str) -> int:
    from datetime import UTC, datetime

    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())
