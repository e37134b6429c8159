"""What counts as a secret, in which forms it is found, and what is left as it is."""

import base64
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import markupsafe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import BadInput
from understudy.secrets import keys
from understudy.secrets.keys import HIDDEN, hide, read_secret, redact, redact_values, require_no_user
from understudy.secrets.sinks import HidingStream

KEY = "sk-Zq7hidden42x+w/Lm9="
WEBHOOK = "https://hooks.example.com/services/T0ABCDEF1/B0ABCDEF2/aVeryLongTokenOfAHook"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Let no other secret be known."""
    monkeypatch.setattr(keys, "_met", set())
    monkeypatch.setattr(sys, "argv", ["test"])
    for name in list(os.environ):
        if keys.SECRET_NAME.search(name) or keys.ADDRESS_NAME.search(name):
            monkeypatch.delenv(name)


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        quote(KEY, safe=""),
        quote(KEY, safe="").replace("%2B", "%2b"),
        json.dumps(KEY)[1:-1],
        repr(f"Bearer {KEY}".encode()),
        KEY[:14],
        f"{KEY[:14]}...",
    ],
)
def test_a_key_is_found_in_every_form(key, form):
    shown = redact(f"before {form} after")
    assert key[:12] not in shown
    assert quote(key, safe="")[:14] not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def test_a_key_with_quotes_is_found_as_templates_write_it(monkeypatch):
    key = """sk-Zq7'hid"den&42xwLm9tail"""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    shown = redact(f"<td>{markupsafe.escape(key)}</td>")
    assert shown == f"<td>{HIDDEN}</td>"


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_a_key_is_found_in_base64_wherever_it_stands(before, after):
    keys.remember(KEY)
    encoded = base64.b64encode(before + KEY.encode() + after).decode()
    shown = redact(encoded)
    assert HIDDEN in shown
    assert len(shown) <= len(encoded) - 4 * len(KEY) // 3 + len(HIDDEN) + 6


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60))
def test_no_key_at_all_is_shown(value):
    value = f"7a{value}"
    keys.remember(value)
    for text in (value, json.dumps(value), repr(value), quote(value, safe=""), f"Basic {value}", f"x={value};y"):
        assert value not in redact(text)
        assert value not in hide(text)


def test_a_key_with_a_line_break_is_hidden_line_by_line(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-Zq7hidden\n42xwLm9tail")
    shown = redact("b'Bearer sk-Zq7hidden\\n42xwLm9tail' and sk-Zq7hidden\n42xwLm9tail")
    assert "hidden" not in shown
    assert "tail" not in shown
    with pytest.raises(BadInput, match="without blanks or line breaks") as caught:
        read_secret("OPENAI_API_KEY")
    assert "hidden" not in str(caught.value)


def test_a_key_that_was_renewed_is_hidden_still(monkeypatch, tmp_path):
    file = tmp_path / "key"
    monkeypatch.setenv("ELASTICSEARCH_API_KEY_FILE", str(file))
    for value in ("first-key-1234", "second-key-1234"):
        file.write_text(f" {value}\n", encoding="utf-8")
        assert read_secret("ELASTICSEARCH_API_KEY") == value
    assert redact("first-key-1234 second-key-1234") == f"{HIDDEN} {HIDDEN}"


def test_the_key_inside_of_an_api_key_is_hidden(monkeypatch):
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", base64.b64encode(b"an-id:aReal-K3y-inside").decode())
    assert redact("refused aReal-K3y-inside") == f"refused {HIDDEN}"


def test_a_webhook_is_hidden_whole_and_in_parts(monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_WEBHOOK_URL", WEBHOOK)
    for text in (
        WEBHOOK,
        f"url: {WEBHOOK[25:]} (Caused by",
        f"POST {WEBHOOK[25:]} HTTP/1.1",
        WEBHOOK.rpartition("/")[2],
    ):
        assert "aVeryLong" not in redact(text)
        assert "T0ABCDEF1" not in redact(text)
    assert redact("services of hooks.example.com") == "services of hooks.example.com"


@pytest.mark.parametrize(
    "address",
    [
        "https://elastic:pa55word@es:9200",
        "elastic:pa55word@es:9200",
        "https://elastic:pa55/wo@rd@es:9200",
        "https://pa55wordtoken@es:9200",
        "http://:pa55word@es",
    ],
)
def test_the_password_of_an_address_is_hidden_wherever_it_comes_from(monkeypatch, address):
    for given_by in ("environment", "argument", "setting"):
        with monkeypatch.context() as place:
            if given_by == "environment":
                place.setenv("ELASTICSEARCH_URL", address)
            else:
                place.setattr(sys, "argv", ["x", f"index.url={address}" if given_by == "setting" else address])
            shown = redact(f"{address} pa55word pa55/wo@rd pa55wordtoken")
            assert address.rpartition("@")[0].rpartition(":")[2].removeprefix("//") not in shown


@pytest.mark.parametrize(
    "text",
    [
        "mail me@example.com or mailto:me@example.com",
        "at 12:30 @ the desk, 50% off",
        "http://localhost:8000/a@b/c",
        "s3://bucket/run:2@x/y",
        "the rehearsal teacher, none of the tests, default",
        "latest words, 1234567 texts",
        "2026-11-29T10:00:00Z token secret password",
    ],
)
def test_innocent_words_stay(monkeypatch, text):
    for name, value in {
        "A_KEY": "rehearsal",
        "B_TOKEN": "none",
        "C_SECRET": "test",
        "D_PASSWORD": "est",
        "E_KEY": "late",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "words")
    assert redact(text) == text
    assert hide(text) == text


def test_a_short_or_plain_word_is_hidden_where_it_stands_alone(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "horses")
    monkeypatch.setenv("PIN_SECRET", "1234")
    assert redact("seahorses have horses, 12345 has 1234") == f"seahorses have {HIDDEN}, 12345 has {HIDDEN}"


def test_the_words_of_a_passphrase_stay(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "correct horse battery")
    assert redact("a correct horse: correct horse battery") == f"a correct horse: {HIDDEN}"


def test_output_of_peoples_texts_keeps_addresses_and_hides_keys(key):
    text = f"see https://me:pass@host and {key}"
    assert hide(text) == f"see https://me:pass@host and {HIDDEN}"


def test_records_keep_their_shape(key):
    content = {"a": [key, 1, 2.5, None, True], key: {"b": (f"x{key}y",)}}
    assert redact_values(content) == {"a": [HIDDEN, 1, 2.5, None, True], key: {"b": [f"x{HIDDEN}y"]}}


def test_what_is_no_file_of_a_key_is_refused_without_waiting(monkeypatch, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * (keys.LARGEST_FILE + 1))
    (tmp_path / "latin").write_bytes(b"\xe9")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path, tmp_path / "large", tmp_path / "latin", tmp_path / "none"):
        monkeypatch.setenv("OPENAI_API_KEY_FILE", str(path))
        with pytest.raises(BadInput, match=r"\(OPENAI_API_KEY_FILE\)"):
            read_secret("OPENAI_API_KEY")


def test_the_environment_comes_before_the_file_and_blanks_are_cut(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("from-the-file\n", encoding="utf-8")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    assert read_secret("OPENAI_API_KEY") == "from-the-file"
    monkeypatch.setenv("OPENAI_API_KEY", "\t from-the-environment \r\n")
    assert read_secret("OPENAI_API_KEY") == "from-the-environment"
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    assert read_secret("OPENAI_API_KEY") == "from-the-file"  # an optional variable that is there and empty


def test_hiding_is_cheap(key):
    text = "a line of the length that a line of output has, with nothing in it to hide\n"
    began = time.process_time()
    for _ in range(2_000):
        hide(text)
    assert time.process_time() - began < 1
    began = time.process_time()
    redact("x:" * 1_000_000 + "@" + "http://a:" * 100_000 + "@b")
    assert time.process_time() - began < 5


def test_a_stream_sees_a_secret_that_is_written_in_pieces(key):
    below = io.StringIO()
    stream = HidingStream(below, redact)
    for sign in f"key {key}\nand again {key}":
        stream.write(sign)
    assert below.getvalue() == f"key {HIDDEN}\n"
    stream.flush()
    assert below.getvalue() == f"key {HIDDEN}\nand again {HIDDEN}"
    stream.write("progress\r")
    assert below.getvalue().endswith("progress\r")
    assert (stream.isatty(), stream.writable(), stream.encoding) == (False, True, "utf-8")
    below.close()
    stream.write("late")
    stream.close()


def test_a_terminal_of_ascii_and_a_pipe_that_ends_make_no_traceback(tmp_path):
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root / "components"), "PYTHONIOENCODING": "ascii", "K_TOKEN": KEY}
    code = f"from understudy.secrets.sinks import guard_streams as g; g(); import click; click.echo('é {KEY} \\udcff')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.decode() == f"é {HIDDEN} \\udcff\n"
    many = "from understudy.cli.main import main; import sys, click, understudy.task.template as t; t.TEMPLATE *= 500; main()"  # noqa: E501
    piped = f"{sys.executable} -c '{many}' card new | head -1"
    ended = subprocess.run(["bash", "-c", piped], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("# A task card")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "address", ["https://me:pass@host", "https://me@host/v1", "https://:pass@host", "https://me:pa/ss@host"]
)
@pytest.mark.parametrize("has_path", [False, True])
def test_an_address_with_a_user_or_password_is_refused_unseen(address, has_path):
    with pytest.raises(BadInput, match=r"^A server must hold no user .* \(URL; not shown\)\. Do\.$") as caught:
        require_no_user(address, "A server", "URL", "Do.", has_path=has_path)
    assert "pa" not in str(caught.value).replace("password", "")


def test_an_at_sign_in_a_path_is_no_user():
    for address in ("", "https://host/hook/a@b/c", "https://host:9200/@me?user=a@b"):
        require_no_user(address, "A server", "URL", "Do.")
