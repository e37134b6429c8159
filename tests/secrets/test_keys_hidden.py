"""Keys and passwords, planted in every place that the product reads them from, are in nothing that it writes."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest

from tests.conftest import card_yaml
from tests.services import local
from tests.warm import Interpreter
from understudy.store import tables

ROOT = Path(__file__).parents[2]
KEY = "sk-Zq7hidden42x+w/Lm9="
SPLIT = ("sk-Zq7hidden", "42xwLm9tail")  # the two halves of a key that was copied with a line break in it
PASSWORD = "p4ss-Word9"
ADDRESS = f"elastic:{PASSWORD}@127.0.0.1:1"


@dataclass(frozen=True)
class Setup:
    """A command in an environment; `{echo}` stands for the address of a server that says back what it is sent."""

    command: str
    environment: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = (KEY,)
    says: str = ""
    key_file: str = ""
    exit_codes: tuple[int, ...] = (1, 2)


LABEL = (
    "label --card snapshot --pool pool --gold gold --test test --judgements out/a --test-judgements out/b --store store"
)
LABEL += " --set texts=6 --set teacher.concurrency=1"
INDEX = "index --from-store --store store --card snapshot"
ROLLBACK = "rollback --store s3://bucket/store"
LOCAL = "run training --card snapshot/card.yaml --texts texts.csv --labels labels.csv --store store --work out"
SUBMIT = "submit nightly --card snapshot/card.yaml --texts s3://bucket/texts --store s3://bucket/store"
S3 = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": KEY, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
TEACHER = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "{echo}/v1"}
PYTHON = "from understudy.cli.main import main; import understudy.cli.main as cli, sys, logging, warnings; "
SETUPS = {
    "the teacher's server says the key back with 401": Setup(LABEL, TEACHER, says="must be accepted"),
    "with 400": Setup(LABEL, {**TEACHER, "STATUS": "400"}),
    "with 402 and no credit": Setup(LABEL, {**TEACHER, "STATUS": "402"}),
    "with 200 in the place of an answer": Setup(LABEL, {**TEACHER, "STATUS": "200"}),
    "in bytes that are no JSON": Setup(LABEL, {**TEACHER, "STATUS": "403"}),
    "the key has a line break": Setup(LABEL, {**TEACHER, "OPENAI_API_KEY": "\n".join(SPLIT)}, SPLIT),
    "the key has blanks around it": Setup(LABEL, {**TEACHER, "OPENAI_API_KEY": f"  {KEY} \n"}, says="must be accepted"),
    "the key is in a file": Setup(
        LABEL, {"OPENAI_API_KEY_FILE": "{file}", "OPENAI_BASE_URL": "{echo}/v1"}, key_file=KEY
    ),
    "the teacher's address holds a password": Setup(
        LABEL, {"OPENAI_BASE_URL": f"http://me:{PASSWORD}@127.0.0.1:1/v1"}, (PASSWORD,)
    ),
    "and no scheme": Setup(LABEL, {"OPENAI_BASE_URL": ADDRESS}, (PASSWORD,)),
    "the card's teacher has a password": Setup("card check odd/card.yaml", secrets=(PASSWORD,)),
    "the endpoint of S3 holds a password": Setup(
        ROLLBACK, {**S3, "AWS_ENDPOINT_URL_S3": f"http://{ADDRESS}"}, (PASSWORD, KEY)
    ),
    "the general endpoint does": Setup(ROLLBACK, {**S3, "AWS_ENDPOINT_URL": f"https://{ADDRESS}"}, (PASSWORD, KEY)),
    "the endpoint holds one and no scheme": Setup(ROLLBACK, {**S3, "AWS_ENDPOINT_URL": ADDRESS}, (PASSWORD, KEY)),
    "the key of S3 has a line break": Setup(ROLLBACK, {**S3, "AWS_SECRET_ACCESS_KEY": "\n".join(SPLIT)}, SPLIT),
    "the token of S3 has a line break": Setup(ROLLBACK, {**S3, "AWS_SESSION_TOKEN": "\n".join(SPLIT)}, (KEY, *SPLIT)),
    "the store says the key back": Setup(ROLLBACK, {**S3, "AWS_ENDPOINT_URL": "{echo}", "STATUS": "403"}),
    "the key of S3 is in a file": Setup(
        ROLLBACK,
        {"AWS_SHARED_CREDENTIALS_FILE": "{file}", "AWS_ENDPOINT_URL": "{echo}", "STATUS": "400"},
        key_file=f"[default]\naws_access_key_id=an-id\naws_secret_access_key={KEY}\naws_session_token=é{SPLIT[0]}\n",
        secrets=(KEY, SPLIT[0]),
    ),
    "Elasticsearch's address holds a password": Setup(INDEX, {"ELASTICSEARCH_URL": f"https://{ADDRESS}"}, (PASSWORD,)),
    "and has no scheme ": Setup(INDEX, {"ELASTICSEARCH_URL": ADDRESS}, (PASSWORD,)),
    "and signs that no URL may hold": Setup(
        INDEX, {"ELASTICSEARCH_URL": "https://elastic:p4ss/Wo@rd9@127.0.0.1:1"}, ("p4ss/Wo@rd9", "Wo@rd9")
    ),
    "Elasticsearch says the key back": Setup(
        INDEX, {"ELASTICSEARCH_URL": "{echo}", "ELASTICSEARCH_API_KEY": KEY, "STATUS": "403"}
    ),
    "its key has a line break": Setup(
        INDEX, {"ELASTICSEARCH_URL": "{echo}", "ELASTICSEARCH_API_KEY": "\n".join(SPLIT)}, SPLIT
    ),
    "its key is in a file": Setup(
        INDEX, {"ELASTICSEARCH_URL": "{echo}", "ELASTICSEARCH_API_KEY_FILE": "{file}", "STATUS": "400"}, key_file=KEY
    ),
    "the store's address holds a password": Setup(f"rollback --store s3://me:{PASSWORD}@bucket/a", S3, (PASSWORD,)),
    "and another scheme": Setup(f"search words --store https://me:{PASSWORD}@bucket/a", S3, (PASSWORD,)),
    "the texts' address holds a password": Setup(f"{LOCAL} --texts s3://me:{PASSWORD}@bucket/a", S3, (PASSWORD,)),
    "the labels' does": Setup(f"{LOCAL} --labels s3://me:{PASSWORD}@bucket/a", S3, (PASSWORD,)),
    "the card's does": Setup(f"{LOCAL} --card s3://me:{PASSWORD}@bucket/a.yaml", S3, (PASSWORD,)),
    "the card's does at submission": Setup(f"{SUBMIT} --card s3://me:{PASSWORD}@bucket/a.yaml", S3, (PASSWORD,)),
    "a setting does": Setup(f"{LOCAL} --set index.url=elastic:{PASSWORD}@es:9200", S3, (PASSWORD,)),
    "a run's teacher says the key back": Setup(LOCAL, {**TEACHER, "LATE": "yes"}, says="Log:"),
    "in a run of KFP's runner": Setup(f"{LOCAL} --runner kfp", {**TEACHER, "LATE": "yes"}, says="Log:"),
    "the token of the pipelines API is said back": Setup(
        "python from understudy.runners.terminal import front_door; from understudy.runners.cluster.api import "
        "connect; front_door(lambda: connect('{echo}'))",
        {"KF_PIPELINES_SA_TOKEN_PATH": "{file}", "STATUS": "403"},
        key_file=KEY,
        says="403",
    ),
    "a component fails with the key in its error": Setup(
        "python from understudy.runtime.shell import execute_component; from types import SimpleNamespace as A; "
        "from pathlib import Path; p = {n: A(path=str(Path(n).resolve()) if n in 'pool gold test' else f'out/{n}/x', "
        "uri='') for n in ['pool', 'gold', 'test', 'judgements', 'test_judgements']}; "
        "execute_component('label', {**p, 'card': A(path='snapshot', uri=''), 'store': 'store'})",
        TEACHER,
        says="Traceback",
    ),
    "an error that nobody expected has the key in its chain": Setup(
        "python import os; from understudy.runners.terminal import front_door\ndef fail():\n"
        " k = os.environ['OPENAI_API_KEY']\n"
        " try:\n  raise ValueError(f'Bearer {k!r}')\n except ValueError as e:\n  raise RuntimeError(k.encode()) from "
        "e\nfront_door(fail)",
        {"OPENAI_API_KEY": KEY},
        says="RuntimeError",
    ),
    "logs, warnings and pieces of lines": Setup(
        "python import os, sys, logging, warnings, json, base64; from urllib.parse import quote; "
        "from understudy.secrets.sinks import guard_streams; guard_streams(); k = os.environ['OPENAI_API_KEY']; "
        "logging.warning('key %s', k); "
        "warnings.warn(k); print(k[:5], end=''); print(k[5:]); print(quote(k, safe=''), json.dumps(k), repr(k)); "
        "print('Basic', base64.b64encode(b'me:' + k.encode()).decode()); sys.exit(k)",
        {"OPENAI_API_KEY": KEY},
        says="WARNING:root:key ***",
    ),
}
SLOW = ("a run's teacher says the key back", "in a run of KFP's runner")


@contextmanager
def echo_server(status: int, *, is_late: bool) -> Iterator[str]:
    """Say back every header that is a credential, as an error; late: only once a text is sent."""

    class Handler(local.Quiet):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.body()
            sent = self.headers.get("Authorization", "")
            if is_late and self.command == "GET":
                return self.say(200, json.dumps({"object": "list", "data": [{"id": "paid-1"}]}))
            fault = {"message": f"Incorrect API key provided: {sent}.", "type": "x", "reason": sent, "code": sent}
            content = {"choices": [{"message": {"role": "assistant", "content": sent}}], "model": "paid-1"}
            text = sent if status == 403 else json.dumps({"error": fault, "message": sent, "status": status, **content})
            return self.say(401 if is_late else status, text)

        def say(self, code: int, text: str) -> None:
            headers = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}
            self.send(code, text.encode(), headers)

        do_GET = do_POST = do_PUT = answer

    with local.serving(Handler) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write what the commands read: a card, one with a password, texts, labels, and what ingest hands to label."""
    for name in ("snapshot", "odd", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "snapshot/card.yaml").write_text(card_yaml(), encoding="utf-8")
    teacher = {"model": "m", "base_url": ADDRESS, "input_usd_per_million": 1, "output_usd_per_million": 1}
    (tmp_path / "odd/card.yaml").write_text(card_yaml(teacher=teacher), encoding="utf-8")
    texts = [f"Ask for room {number}." if number % 2 else f"We had room {number}." for number in range(120)]
    ids = [f"t{number}" for number in range(len(texts))]
    pl.DataFrame({"id": ids, "text": texts}).write_csv(tmp_path / "texts.csv")
    labels = ["tip" if number % 2 else "other" for number in range(80)]
    pl.DataFrame({"id": ids[:80], "label": labels}).write_csv(tmp_path / "labels.csv")
    pool = pl.DataFrame({"id": ids, "group": ids, "time": pl.Series([None] * len(ids), dtype=pl.String), "text": texts})
    tables.write(pool, tables.Texts, tmp_path / "pool")
    for name, split, rows in (("gold", "train", slice(0, 20)), ("test", "test", slice(20, 40))):
        gold = pl.DataFrame({"id": ids[rows], "group": ids[rows], "text": texts[rows], "label": labels[rows]})
        gold = gold.with_columns(split=pl.lit(split), annotators=pl.lit(1), origin=pl.lit("labels"))
        tables.write(
            gold.select("id", "group", "text", "label", "split", "annotators", "origin"), tables.Gold, tmp_path / name
        )
    return tmp_path


def argv_of(command: str) -> list[str]:
    """Turn a setup's command into arguments of Python."""
    if command.startswith("python "):
        return ["-c", command.removeprefix("python ")]
    return ["-m", "understudy", *command.split()]


def forms(secret: str) -> set[str]:
    """Return a secret as it stands in output, in URLs and in JSON."""
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}


@pytest.mark.parametrize("name", SETUPS)
def test_no_key_is_shown(name: str, folder: Path, warm: Interpreter) -> None:
    setup = SETUPS[name]
    (folder / "key").write_text(setup.key_file, encoding="utf-8")
    own = {"HOME": str(folder / "home"), "UNDERSTUDY_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "OPENAI_", "ELASTICSEARCH_"))
    }
    options = {key: setup.environment.get(key, "") for key in ("STATUS", "LATE")}
    with echo_server(int(options["STATUS"] or 401), is_late=bool(options["LATE"])) as echo:

        def filled(text: str) -> str:
            return text.replace("{echo}", echo).replace("{file}", str(folder / "key"))

        given = {key: filled(value) for key, value in setup.environment.items() if key not in options}
        path = {"PYTHONPATH": f"{ROOT / 'components'}:{ROOT}", "AWS_EC2_METADATA_DISABLED": "true"}
        ended = warm.run(argv_of(filled(setup.command)), folder, {**kept, **own, **path, **given}, timeout=240)
    said = ended.stdout + ended.stderr
    assert ended.returncode in setup.exit_codes, said
    assert setup.says in said
    assert said.strip()
    assert "No such command" not in said
    (folder / "key").unlink()
    (folder / "odd/card.yaml").unlink()
    written = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for secret in setup.secrets:
        for form in forms(secret):
            assert form not in said
            assert [path for path, data in written.items() if form.encode() in data] == []
    if "Traceback" in said:
        assert setup.command.startswith("python "), said


def test_the_test_finds_a_key_that_is_shown(folder: Path, warm: Interpreter) -> None:
    hidden: Callable[[], None] = lambda: test_no_key_is_shown("shown", folder, warm)  # noqa: E731
    SETUPS["shown"] = Setup("python import os, sys; sys.exit(os.environ['OPENAI_API_KEY'])", {"OPENAI_API_KEY": KEY})
    try:
        with pytest.raises(AssertionError):
            hidden()
    finally:
        del SETUPS["shown"]
