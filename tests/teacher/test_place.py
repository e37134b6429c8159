"""Where a teacher may stand: a card that keeps texts in the house sends none outside, whatever a name means when."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_network
from urllib.parse import urlsplit

import polars as pl
import pytest

from tests.conftest import card_yaml
from tests.teachers import MODELS, Answer, completion, teacher_server
from understudy.errors import BadInput
from understudy.store.storage import Store
from understudy.task.card import Card, parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher import place
from understudy.teacher.client import place_of
from understudy.teacher.labeller import open_teacher, probe
from understudy.teacher.place import OutOfHouse

TIP = '{"label": "tip"}'
NAME = "teacher.example"
UMLAUT, PUNYCODE = "köln.example", "xn--kln-sna.example"
OUTSIDE = "127.0.0.2"  # where a test takes the house to be 127.0.0.1 alone
TEXTS = pl.DataFrame({"id": ["a", "b", "c"], "text": ["One.", "Two.", "Two."], "weight": [1.0] * 3})


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-key-of-tests")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def means(monkeypatch):
    """Let NAME mean addresses, one list after the other; the last one stays."""
    real = socket.getaddrinfo

    def say(*answers: list[str]) -> None:
        left = list(answers)

        def resolve(host, port, *args, **named):
            if host not in {NAME, NAME.encode(), PUNYCODE, PUNYCODE.encode()}:
                return real(host, port, *args, **named)
            addresses = left.pop(0) if len(left) > 1 else left[0]
            return [found for address in addresses for found in real(address, port, *args, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    return say


@pytest.fixture
def small_house(monkeypatch):
    """Take 127.0.0.1 alone for the house, so that an outside can be had on this machine."""
    monkeypatch.setattr(place, "IN_HOUSE", (ip_network("127.0.0.1/32"),))


def port_of(url: str) -> int:
    return urlsplit(url).port or 80


@contextmanager
def ear(address: str) -> Iterator[tuple[int, list[bytes]]]:
    """Listen at an address, and keep what each connection sends first."""
    heard: list[bytes] = []
    with closing(socket.create_server((address, 0))) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    heard.append(connection.recv(1000))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard


def card(url: str, where: str = "in-house") -> Card:
    teacher = {"model": "paid-1", "base_url": url, "place": where}
    return parse_card(card_yaml(teacher=teacher | {"input_usd_per_million": 0.4, "output_usd_per_million": 1.6}))


@pytest.mark.parametrize(
    "url", ["http://8.8.8.8/v1", "http://[2606:4700::1111]/v1", "https://[::ffff:8.8.8.8]/v1", "http://172.32.0.1/v1"]
)
def test_an_address_outside_of_the_house_is_refused_before_anything_is_sent(url):
    with pytest.raises(OutOfHouse, match=r"must be in the house, got .*teacher\.place on the card.*Nothing was sent"):
        probe(card(url), TeacherConfig())


def test_the_address_of_the_environment_counts_not_the_cards(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://8.8.8.8/v1")
    with pytest.raises(OutOfHouse, match=r"8\.8\.8\.8"):
        probe(card("http://127.0.0.1:9/v1"), TeacherConfig())


def test_a_name_with_one_address_outside_is_refused_though_it_has_another_inside(means):
    means(["10.0.0.7", "8.8.8.8"])
    with pytest.raises(OutOfHouse, match=rf"got {NAME} \(8\.8\.8\.8\)"):
        probe(card(f"http://{NAME}/v1"), TeacherConfig())


def test_a_name_that_comes_to_mean_another_address_is_hung_up_on_unheard(means, small_house):
    means(["127.0.0.1"], [OUTSIDE])
    with ear(OUTSIDE) as (port, heard), pytest.raises(OutOfHouse, match=rf"\({OUTSIDE}\)"):
        probe(card(f"http://{NAME}:{port}/v1"), TeacherConfig())
    assert heard in ([], [b""])


def test_a_name_that_changes_while_texts_are_asked_ends_the_run_and_sends_none(means, small_house, store: Store):
    means(["127.0.0.1"], ["127.0.0.1"], [OUTSIDE])
    hangs_up = Answer(MODELS.body, headers={"Connection": "close"})
    with teacher_server(lambda *_: completion(TIP), hangs_up) as log, forwarded(OUTSIDE, port_of(log.url)):
        url = log.url.replace("127.0.0.1", NAME)
        with open_teacher(card(url), store, TeacherConfig()) as teacher, pytest.raises(OutOfHouse):
            teacher.judge(TEXTS)
    assert log.texts == []


def test_a_proxy_of_the_environment_is_passed_by(means, monkeypatch, store: Store):
    means(["127.0.0.1"])
    with ear("127.0.0.1") as (proxy, heard), teacher_server(lambda *_: completion(TIP)) as log:
        for name in ("HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        url = log.url.replace("127.0.0.1", NAME)
        with open_teacher(card(url), store, TeacherConfig()) as teacher:
            assert len(teacher.judge(TEXTS).table) == 3
            assert teacher.sent(TEXTS).as_record() == {"texts": 2, "left": {}, "unknown": 0, "is_redacted": False}
    assert heard == []


def test_texts_that_leave_are_counted_once_by_the_host_they_went_to(means, small_house, monkeypatch, store: Store):
    means([OUTSIDE])
    with teacher_server(lambda *_: completion(TIP)) as log, forwarded(OUTSIDE, port_of(log.url)):
        url = log.url.replace("127.0.0.1", NAME)
        with open_teacher(card(url, "anywhere"), store, TeacherConfig()) as teacher:
            teacher.judge(TEXTS)
            assert teacher.sent(TEXTS, TEXTS.head(1)).left == {NAME: 2}


@pytest.mark.parametrize(
    ("name", "meanings"),
    [(UMLAUT, [["127.0.0.1"]]), (NAME, [[], ["127.0.0.1"]])],
    ids=["a name in other letters than ASCII", "a name whose first look-up fails"],
)
def test_what_stays_in_the_house_is_not_counted_as_gone(name, meanings, means, store: Store):
    means(*meanings)
    with (
        teacher_server(lambda *_: completion(TIP)) as log,
        open_teacher(card(log.url.replace("127.0.0.1", name)), store, TeacherConfig()) as teacher,
    ):
        teacher.judge(TEXTS)
        sent = teacher.sent(TEXTS)
    assert (sent.texts, sent.left, sent.unknown) == (2, {}, 0)


def test_a_name_without_an_address_is_not_said_to_take_texts_out():
    words = place_of(card("http://teacher.invalid/v1").teacher).words
    assert words == "whether texts leave the house is not known yet: teacher.invalid has no address here now"


@contextmanager
def forwarded(address: str, port: int) -> Iterator[None]:
    """Let a port of another address of this machine reach the same port of 127.0.0.1."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    with closing(socket.create_server((address, port))) as server:

        def serve() -> None:
            while True:
                try:
                    near, _ = server.accept()
                except OSError:
                    return
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield


def test_what_goes_through_a_proxy_counts_as_gone_though_the_proxy_is_in_the_house(means, monkeypatch, store: Store):
    means(["127.0.0.1"])
    with teacher_server(lambda *_: completion(TIP)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        there = card(f"http://{NAME}/v1", "anywhere")
        assert place_of(there.teacher).words.startswith(
            f"texts leave the house, for {NAME} through the proxy 127.0.0.1"
        )
        with open_teacher(there, store, TeacherConfig()) as teacher:
            teacher.judge(TEXTS)
            assert teacher.sent(TEXTS).left == {NAME: 2}
    assert len(proxy.texts) == 2


def test_a_dry_run_refuses_too(store: Store):
    with pytest.raises(OutOfHouse), open_teacher(card("http://8.8.8.8/v1"), store, TeacherConfig(), is_dry_run=True):
        pass


def test_only_a_card_that_keeps_texts_in_has_another_hash():
    plain = parse_card(card_yaml())
    teacher = plain.teacher.model_dump(mode="json", exclude={"place"})
    anywhere, kept = (parse_card(card_yaml(teacher=teacher | {"place": at})) for at in ("anywhere", "in-house"))
    assert anywhere.hash == plain.hash != kept.hash


def test_a_proxy_that_is_no_address_is_told_with_its_variable(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://[::1")
    with pytest.raises(BadInput, match=r"must be an address.*HTTPS_PROXY"):
        place.find("https://api.example/v1", past_proxies=False)
