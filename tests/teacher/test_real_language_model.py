"""A language model and a server that nobody here wrote, asked by our commands; how well it labels is not looked at."""

import polars as pl
import pytest
from click.testing import CliRunner

from tests.conftest import CARD, card_yaml
from understudy.cli.main import app
from understudy.task.card import parse_card
from understudy.task.sections import TeacherConfig
from understudy.teacher.labeller import open_teacher

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]
TEXTS = ["Ask for a quiet room.", "The view was nice.", "Bring a torch for the stairs.", "It rained all week."]


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch, language_model):
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", language_model)


def test_a_check_finds_what_the_server_can_do_and_what_it_costs(tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text(card_yaml(teacher={**CARD["teacher"], "model": "smollm2"}))
    result = CliRunner().invoke(app, ["teacher", "check", "--card", str(card)])
    assert result.exit_code == 0, result.output
    assert " usable, " in result.output
    assert "tokens: counted by the server" in result.output
    assert "dollars a text: $0.0" in result.output
    assert "seconds_per_text: " in result.output


def test_a_slow_server_with_one_slot_is_asked_by_several_at_once_and_nothing_is_paid_twice(store, capsys):
    """It answers one request at a time, each later than `timeout_s`: it is asked less, and waited for."""
    card = parse_card(card_yaml(teacher={**CARD["teacher"], "model": "smollm2"}))
    table = pl.DataFrame({"id": ["a", "b", "c", "d"], "text": TEXTS, "weight": [1.0] * 4})
    config = TeacherConfig(concurrency=4, timeout_s=1.0, max_answer_tokens=40, max_failed_share=1.0)
    with open_teacher(card, store, config) as teacher:
        judged = teacher.judge(table)
        paid = teacher.spent_usd
        again = teacher.judge(table.join(judged.table, on="id", how="semi")) if len(judged.table) else judged
    assert judged.asked == 4
    assert len(judged.table) + judged.failures == 4
    assert set(judged.forms) <= {"schema", "json", "plain"}
    assert judged.prompt_tokens > 4 * 100
    assert judged.estimated == 0
    assert (again.asked, teacher.spent_usd) == (0, paid) or not len(judged.table)
    assert "at once from here on (teacher.timeout_s" in capsys.readouterr().err
