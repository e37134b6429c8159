"""A card that lies in a store: what passes ends a command with 1, what its user must change with 2."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import card_yaml
from tests.services import local
from tests.warm import Interpreter
from understudy.data import cards
from understudy.errors import BadCard, StorageError
from understudy.store.storage import open_store
from understudy.task.card import LARGEST_FILE

ROOT = Path(__file__).parents[2]
OUT = "--snapshot o/snapshot"
COMMANDS = {
    "card check": "understudy card check {card}",
    "ingest": f"understudy ingest --card {{card}} --texts texts.csv --labels labels.csv --store store {OUT} "
    "--pool o/pool --gold o/gold --test o/test --refused o/refused",
    "shard": f"understudy shard --card {{card}} --texts texts.csv --store store {OUT}",
    "training": "understudy run training --card {card} --texts texts.csv --labels labels.csv --store store --work w",
    "nightly": "understudy run nightly --card {card} --texts texts.csv --store store --work w",
    "reindex": "understudy reindex --from-store --card {card} --store store",
    "rehearse": "understudy rehearse --card {card} --answers answers.csv --host no.such.host.invalid",
    "submit": "understudy submit nightly --card {card} --texts s3://no-bucket/texts --store s3://no-bucket/store "
    "--host http://127.0.0.1:1",
}


@pytest.fixture
def failing(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a server that fails as S3 does: an error of the server, or a body that is cut."""

    class Handler(local.Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = f"<Error><Code>{request.param}</Code><Message>no</Message></Error>".encode()
            is_cut = request.param == "cut"
            status = 200 if is_cut else int({"SlowDown": 503}.get(request.param, 500))
            self.send(status, body, {"ETag": '"a"', "Content-Length": str(len(body) + 1_000 * is_cut)})
            self.close_connection = is_cut

        do_PUT = do_GET

    with local.serving(Handler) as url:
        yield url


def run_all(warm: Interpreter, folder: Path, card: str, **environment: str) -> dict[str, tuple[int, str]]:
    """Run the commands side by side in a folder with texts and labels; return exit codes and standard errors."""
    (folder / "texts.csv").write_text("id,text\n1,a\n", encoding="utf-8")
    (folder / "labels.csv").write_text("id,label\n1,tip\n", encoding="utf-8")
    (folder / "answers.csv").write_text("text,label\na,tip\n", encoding="utf-8")
    own = {
        **os.environ,
        "UNDERSTUDY_CACHE": str(folder / "cache"),
        "PYTHONPATH": f"{ROOT / 'components'}:{ROOT}",
        **environment,
    }
    begun = {
        name: warm.start(["-m", *command.format(card=card).split()], folder, own) for name, command in COMMANDS.items()
    }
    told = {name: process.communicate(timeout=200)[1] for name, process in begun.items()}
    return {name: (process.returncode, told[name]) for name, process in begun.items()}


@pytest.mark.parametrize("failing", ["SlowDown"], indirect=True)
def test_a_store_that_is_out_of_order_ends_every_command_with_1(
    failing: str, tmp_path: Path, warm: Interpreter
) -> None:
    keys = {"AWS_ENDPOINT_URL": failing, "AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret-key"}
    for name, (code, told) in run_all(warm, tmp_path, "s3://b/card.yaml", **keys).items():
        assert code == 1, (name, told)
        assert "The store must answer, got" in told
        assert "A card must" not in told
        assert "Traceback" not in told


def test_a_card_that_is_not_in_the_store_ends_every_command_with_2(
    s3_url: str, tmp_path: Path, warm: Interpreter
) -> None:
    for name, (code, told) in run_all(warm, tmp_path, f"{s3_url}/card.yaml").items():
        assert code == 2, (name, told)
        assert f"A card must exist, got nothing at {s3_url}/card.yaml (--card)." in told


@pytest.mark.parametrize("failing", ["InternalError", "cut"], indirect=True)
def test_no_outage_is_told_as_a_bad_card(failing: str, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", failing)
    with pytest.raises(StorageError, match=r"The store must answer|An object must come whole"):
        cards.read(f"{s3_url}/card.yaml")


def test_a_server_that_is_not_there_is_no_bad_card(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageError, match="The store must be reachable"):
        cards.read(f"{s3_url}/card.yaml")


def test_what_a_store_holds_in_the_place_of_a_card_is_told(s3_url: str) -> None:
    store = open_store(s3_url)
    for key, data, sentence in [
        ("odd", b"name: caf\xe9", "codec can't decode byte 0xe9"),
        ("empty", b"", "must be a mapping of settings, got nothing"),
        ("large", b"#" * (LARGEST_FILE + 1), "at most 1,048,576 bytes"),
        ("a#b?c%20d", b"[]", "must be a mapping of settings, got list"),
    ]:
        store.put_if_absent(key, data)
        with pytest.raises(BadCard, match=sentence):
            cards.read(f"{s3_url}/{key}")
    with pytest.raises(BadCard, match="must be one object"):
        cards.read(s3_url)
    store.put_if_absent("cards/a card.yaml", card_yaml().encode())
    card, text = cards.read(f"{s3_url}/cards/a card.yaml")
    assert (card.name, text) == ("hotel-tips", card_yaml())


def test_merges_that_stand_for_millions_of_values_are_not_carried_out_to_find_the_columns(tmp_path: Path) -> None:
    merges = "".join(f"x{n}: &x{n}\n  <<: [{','.join([f'*x{n - 1}'] * 8)}]\n  k: 1\n" for n in range(1, 10))
    card = tmp_path / "card.yaml"
    card.write_text(f"columns: {{text: body}}\nx0: &x0 {{a: 1}}\n{merges}", encoding="utf-8")
    assert cards.columns_said(str(card)) is None
    card.write_text("columns: {text: body}\nlabels: 5\n", encoding="utf-8")
    assert cards.columns_said(str(card)) == {"text": "body"}


@pytest.mark.parametrize("form", ["{folder}", "{folder}/card.yaml", "file://{folder}", "file://{folder}/card.yaml"])
def test_a_card_is_a_file_or_a_folder_by_path_or_url(form: str, tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(card_yaml(), encoding="utf-8")
    card, text = cards.read(form.format(folder=tmp_path))
    assert (card.name, text) == ("hotel-tips", card_yaml())


@pytest.mark.parametrize("form", ["{url}/snapshot", "{url}/snapshot/", "{url}/snapshot/card.yaml"])
def test_a_card_on_s3_is_an_object_or_a_folder(form: str, s3_url: str) -> None:
    open_store(s3_url).put_if_absent("snapshot/card.yaml", card_yaml().encode())
    card, text = cards.read(form.format(url=s3_url))
    assert (card.name, text) == ("hotel-tips", card_yaml())


@pytest.mark.parametrize("form", ["file://{folder}/snapshot", "{url}/snapshot"])
def test_every_command_takes_a_card_in_a_folder(form: str, s3_url: str, tmp_path: Path, warm: Interpreter) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "card.yaml").write_text(card_yaml(), encoding="utf-8")
    open_store(s3_url).put_if_absent("snapshot/card.yaml", card_yaml().encode())
    for name, (code, told) in run_all(warm, tmp_path, form.format(folder=tmp_path, url=s3_url)).items():
        assert "A card must" not in told, (name, told)
        assert "Traceback" not in told, (name, told)
        assert code in {0, 2}, (name, told)
        assert (code == 0) == (name in {"card check", "reindex"}), (name, told)
