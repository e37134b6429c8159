"""The review page over HTTP: who is answered, and what the page may do."""

import http.client
import json
import threading
from collections.abc import Iterator

import pytest

from tests.conftest import card_yaml
from tests.queues import put_queue
from understudy.errors import BadInput
from understudy.review import labels, waiting
from understudy.review.desk import Desk
from understudy.review.journal import Journal
from understudy.review.server import EVERYWHERE, new_token, server_of

CARD = "hotel-tips"
ATTACK = "</p><script>document.title='taken'</script>"
JSON = {"Content-Type": "application/json"}


class Served:
    """A page that is served, and a client that says what it is told to."""

    def __init__(self, store):
        (queue,) = waiting.read_all(store, CARD)
        self.token = new_token()
        self.desk = Desk(queue, Journal(store, CARD, queue))
        self.server = server_of(self.desk, "127.0.0.1", 0, self.token)
        self.port = self.server.server_address[1]

    def ask(self, method, place, body=None, token=None, **headers):
        """Return status, headers and body; a header's name is written with _ for -."""
        said = {"Host": f"127.0.0.1:{self.port}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        path = f"/{self.token if token is None else token}/{place}"
        connection.request(method, path, data, {**(JSON if body is not None else {}), **said})
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found

    def act(self, place, **body):
        status, _, data = self.ask("POST", place, body)
        return status, json.loads(data)


@pytest.fixture
def served(store) -> Iterator[Served]:
    put_queue(store, card_yaml(), {"r1": ATTACK, "r2": "It rained."})
    page = Served(store)
    thread = threading.Thread(target=page.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield page
    page.server.shutdown()
    page.server.server_close()
    thread.join()


def test_a_person_labels_over_http(served, store):
    status, view = served.act("show", person=" ann ")
    assert (status, view["text"]["text"]) == (200, ATTACK)
    status, view = served.act("answer", person="ann", id="r1", labels=["tip"], seconds=3.5)
    assert (status, view["text"]["id"], view["last"]["teacher"]) == (200, "r2", ["other"])
    assert served.act("skip", person="ann", id="r2")[1]["text"]["id"] == "r2"
    assert served.act("undo", person="ann")[1]["text"]["id"] == "r1"
    served.act("answer", person="ann", id="r1", labels=["other"])
    assert labels.read_all(store, CARD).select("id", "label", "annotator").rows() == [("r1", "other", "ann")]


@pytest.mark.parametrize("place", ["", "page.js", "page.css", "task", "show", "../page.js", "page.html"])
def test_nothing_is_answered_without_the_token(served, place):
    for method, body in (("GET", None), ("POST", {"person": "ann"})):
        for token in ("", "wrong", served.token[:-1], f"{served.token}x", "%C3%A9"):
            assert served.ask(method, place, body, token)[0] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:9000"}, 200),  # a tunnel's own port
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({}, 200),
    ],
)
def test_other_sites_and_other_names_for_this_server_are_refused(served, store, headers, status):
    assert served.ask("GET", "", **headers)[0] == status
    answer = {"person": "ann", "id": "r1", "labels": ["tip"]}
    assert served.ask("POST", "answer", answer, **headers)[0] == status
    assert len(labels.read_all(store, CARD)) == (status == 200)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"person=ann&id=r1&labels=tip", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"person": "ann"}', {"Content_Type": "text/plain"}, 415),
        (b"[" * 70_000, {}, 413),
        (b"{}", {"Content_Length": "\xb2"}, 413),
        (b"[" * 60_000, {}, 400),
        (b"{}", {}, 400),
        (b'{"person": "ann", "id": 3}', {}, 400),
        (b'{"person": "ann", "id": "r1", "labels": ["tip"], "segment": 9}', {}, 400),
        (b'{"person": "a\\u0000b", "id": "r1", "labels": ["tip"]}', {}, 400),
        (b'{"person": "ann", "id": "r1", "labels": ["tip"], "seconds": NaN}', {}, 400),
        (b'{"person": "\\ud800", "id": "r1", "labels": ["tip"]}', {}, 400),
    ],
)
def test_what_the_page_never_sends_is_refused_and_saves_nothing(served, store, body, headers, status):
    assert served.ask("POST", "answer", body, **headers)[0] == status
    assert store.list("labels/") == []


def test_the_page_may_run_its_own_script_alone_and_holds_no_text(served):
    status, headers, page = served.ask("GET", "")
    assert status == 200
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
    assert (headers["Referrer-Policy"], headers["X-Content-Type-Options"]) == ("no-referrer", "nosniff")
    script = served.ask("GET", "page.js")[2]
    assert b"innerHTML" not in script
    assert b"onclick" not in page
    assert ATTACK.encode() not in page
    kind = served.ask("POST", "show", {"person": "ann"})[1]["Content-Type"]
    assert kind == "application/json"


def test_a_fault_is_told_in_a_sentence(served):
    status, said = served.act("answer", person="ann", id="r1", labels=["spam"])
    assert (status, said["error"]) == (400, "An answer must be one label of the card, got spam. Reload the page.")


def test_several_people_at_once_lose_nothing(served, store):
    faults = []

    def work(person):
        for label in ("tip", "other") * 10:
            status, said = served.act("answer", person=person, id="r2", labels=[label])
            faults.extend([said] if status != 200 else [])

    threads = [threading.Thread(target=work, args=(f"person {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    (key,) = store.list("labels/")
    assert len(store.read(key).splitlines()) == 80
    assert len(labels.read_all(store, CARD)) == 4


def test_an_address_that_is_taken_is_refused_in_a_sentence(served, store):
    (queue,) = waiting.read_all(store, CARD)
    with pytest.raises(BadInput, match=r"The review page must have a free address, got .*Name another --port"):
        server_of(Desk(queue, Journal(store, CARD, queue)), "127.0.0.1", served.port, "token")


@pytest.mark.parametrize("host", EVERYWHERE)
def test_a_page_that_could_be_opened_by_no_name_is_refused(served, host):
    with pytest.raises(BadInput, match="must be served at an address that it is opened by"):
        server_of(served.desk, host, 0, "token")
