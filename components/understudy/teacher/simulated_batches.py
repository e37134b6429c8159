"""Take files and batches at a simulated teacher, and answer their requests as it does single ones.

A batch is worked on when it is looked at: once its time is over it has ended, and what it did not come to has expired.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from understudy.stats.draw import share

Answered = tuple[int, Mapping[str, Any]]  # status and body of the answer to one request
PER_PAGE = 100


class Unknown(Exception):
    """There is no such file or batch; answered with 404."""


@dataclass
class Batch:
    """A batch under way.

    Attributes:
        content: as the API has it.
        ends: when it is ready, by `time.monotonic`.
    """

    content: dict[str, Any]
    ends: float


@dataclass
class Batches:
    """The files and batches of one server; used by its threads.

    Attributes:
        answer: answers the body of one request.
        seconds: that a batch takes.
        expires: share of the requests that a batch does not come to before its time is over.
    """

    answer: Callable[[Mapping[str, Any]], Answered]
    seconds: float = 0.0
    expires: float = 0.0
    _files: dict[str, bytes] = field(default_factory=dict)
    _batches: dict[str, Batch] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def upload(self, content_type: str, body: bytes) -> dict[str, Any]:
        """Take a file of a form.

        Raises:
            ValueError: the form has none.
        """
        data = form_file(content_type, body)
        return {"id": self._keep(data), "object": "file", "bytes": len(data), "purpose": "batch", "filename": "batch"}

    def read(self, name: str) -> bytes:
        """Return a file. Raises Unknown."""
        with self._lock:
            if name not in self._files:
                raise Unknown(f"No such file: {name}.")
            return self._files[name]

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a batch. Raises Unknown where its file is none."""
        lines = self.read(str(request.get("input_file_id"))).splitlines()
        batch_id = f"batch_{uuid.uuid4().hex}"
        content = {
            "id": batch_id,
            "object": "batch",
            "endpoint": request.get("endpoint"),
            "input_file_id": request.get("input_file_id"),
            "completion_window": request.get("completion_window"),
            "metadata": request.get("metadata"),
            "status": "in_progress",
            "created_at": int(time.time()),
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        with self._lock:
            self._batches[batch_id] = Batch(content, time.monotonic() + self.seconds)
        return content

    def retrieve(self, batch_id: str) -> dict[str, Any]:
        """Return a batch, ended once its time is over. Raises Unknown."""
        with self._lock:
            batch = self._batches.get(batch_id)
            if batch is None:
                raise Unknown(f"No batch found with id '{batch_id}'.")
            if batch.content["status"] == "in_progress" and time.monotonic() >= batch.ends:
                self._end(batch)
            return batch.content

    def listing(self, after: str | None) -> dict[str, Any]:
        """Return the batches, the newest first, a page at a time."""
        with self._lock:
            ids = list(self._batches)[::-1]
            start = ids.index(after) + 1 if after in self._batches else 0
            page = [self.retrieve(batch_id) for batch_id in ids[start : start + PER_PAGE]]
            return {
                "object": "list",
                "data": page,
                "has_more": start + PER_PAGE < len(ids),
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
            }

    def _end(self, batch: Batch) -> None:
        """Answer the requests, but for those that it did not come to."""
        lines = [json.loads(line) for line in self._files[batch.content["input_file_id"]].splitlines()]
        late = {line["custom_id"] for line in lines if share("expires", line["custom_id"]) < self.expires}
        answers = [self._answered(line) for line in lines if line["custom_id"] not in late]
        failed = [line for line in answers if line["response"]["status_code"] != 200]
        expired = [_expired(name) for name in sorted(late)]
        done = [line for line in answers if line not in failed]
        batch.content |= {
            "status": "expired" if late else "completed",
            "output_file_id": self._keep(_lines(done)) if done else None,
            "error_file_id": self._keep(_lines([*failed, *expired])) if failed or expired else None,
            "request_counts": {"total": len(lines), "completed": len(done), "failed": len(failed) + len(expired)},
        }

    def _answered(self, line: Mapping[str, Any]) -> dict[str, Any]:
        status, body = self.answer(line["body"])
        response = {"status_code": status, "request_id": uuid.uuid4().hex, "body": body}
        return {
            "id": f"batch_req_{uuid.uuid4().hex}",
            "custom_id": line["custom_id"],
            "response": response,
            "error": None,
        }

    def _keep(self, data: bytes) -> str:
        name = f"file-{uuid.uuid4().hex}"
        with self._lock:
            self._files[name] = data
        return name


def form_file(content_type: str, body: bytes) -> bytes:
    """Return the file of a form, as its part `file` has it.

    Raises:
        ValueError: there is none.
    """
    form = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    for part in form.iter_parts():
        if part.get_param("name", header="content-disposition") == "file":
            return bytes(part.get_payload(decode=True))
    raise ValueError("A file must stand in the part 'file' of a form.")


def _expired(name: str) -> dict[str, Any]:
    error = {"code": "batch_expired", "message": "This request could not be executed before the completion window."}
    return {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": name, "response": None, "error": error}


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
