"""Stages of a training: what each learns, that people have the last word, and a kill in any of them."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from tests.students import make_student
from understudy.model import student
from understudy.steps.train.config import TrainConfig
from understudy.steps.train.forecast import forecast
from understudy.steps.train.learn import Examples, Learner, Validation, make_deterministic
from understudy.steps.train.stages import plan
from understudy.task.card import parse_card
from understudy.task.labels import LabelSpace

SPACE = LabelSpace(("other", "tip"), "tip")
CONFIG = TrainConfig(epochs=3, people_epochs=4, learning_rate=0.003, batch_tokens=256, patience=9)
HUMAN = np.arange(80) >= 60  # the last 20


def names(config, is_human=HUMAN, *, people_suffice=True):
    return [(stage.name, len(stage.rows)) for stage in plan(is_human, config, 1e-3, people_suffice=people_suffice)]


def test_stages_come_in_the_order_of_the_settings_each_with_its_texts_and_epochs():
    config = replace(CONFIG, stages="teacher then mixed then people")
    assert names(config) == [("teacher", 60), ("mixed", 80), ("people", 20)]
    assert [stage.epochs for stage in plan(HUMAN, config, 1e-3, people_suffice=True)] == [3, 3, 4]


def test_a_stage_that_would_repeat_the_one_before_it_is_left_out():
    assert names(CONFIG, np.ones(20, bool)) == [("mixed", 20)]
    assert names(replace(CONFIG, stages="teacher then people"), np.zeros(20, bool)) == [("teacher", 20)]


def test_too_few_human_labels_have_no_stage_of_their_own_and_that_is_told(capsys):
    assert names(CONFIG, people_suffice=False) == [("mixed", 80)]
    assert "no last stage on people's labels alone: 20 texts, too few" in capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_student(tmp_path_factory.mktemp("student") / "tiny")


def learner(folder, config=CONFIG, *, teacher_is_wrong=False):
    """Learn that "ask" makes a tip; a teacher that is wrong says the contrary."""
    make_deterministic(config.seed)
    model, tokenizer = student.load(str(folder), SPACE.names)
    texts = [f"ask for number {index}" if index % 2 else f"number {index} was nice" for index in range(120)]
    tokens = student.tokens_of(tokenizer, texts, 32)
    truth = np.arange(120) % 2
    taught = np.where(HUMAN | (not teacher_is_wrong), truth[:80], 1 - truth[:80])
    targets = torch.tensor(SPACE.one_hot(taught), dtype=torch.float32)
    examples = Examples(tokens[:80], targets, torch.ones(80))
    stages = plan(HUMAN, config, 0.003, people_suffice=True)
    checked = Validation(tokens[80:], truth[80:], SPACE)
    return Learner(model, tokenizer.pad_token_id, examples, stages, checked, config, torch.device("cpu"))


def run(learner):
    kept = []
    learned = learner.run(kept.append, lambda *_: None)
    return learned, kept, learner.best


def test_people_have_the_last_word_against_a_teacher_that_is_wrong(folder):
    mixed, _, _ = run(learner(folder, replace(CONFIG, stages="mixed"), teacher_is_wrong=True))
    both, _, _ = run(learner(folder, replace(CONFIG, people_epochs=20), teacher_is_wrong=True))
    assert mixed.best_score < 0.6
    assert both.best_score > 0.9
    assert both.best_epoch >= CONFIG.epochs


@pytest.mark.parametrize("stage", [0, 1])
def test_a_training_that_was_killed_in_any_stage_ends_with_the_same_weights(folder, stage):
    config = replace(CONFIG, checkpoint_s=0)
    whole, kept, weights = run(learner(folder, config))
    middle = next(found for found in kept if found.position.stage == stage and found.position.stage_epoch == 1)
    again = learner(folder, config)
    again.resume(middle)
    resumed, _, same = run(again)
    assert resumed == whole
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_what_validation_looks_at_is_the_mean_of_the_stages_epochs(folder):
    made, epochs = learner(folder, replace(CONFIG, stages="mixed")), []

    def note(position, _):
        if position.batch == made.batches_of[0]:
            epochs.append({name: weight.detach().clone() for name, weight in made.trained.items()})

    learned = made.run(lambda _: None, note)
    for name, weight in made.trained.items():
        torch.testing.assert_close(made.mean[name], torch.stack([epoch[name] for epoch in epochs]).mean(dim=0))
        torch.testing.assert_close(weight.detach(), made.best[name])
    assert len(epochs) == CONFIG.epochs > learned.best_epoch


def test_every_update_that_is_forecast_is_made_where_validation_ends_no_stage(folder):
    made = learner(folder)
    learned, _, _ = run(made)
    assert learned.updates == made.updates
    assert made.position.epoch == CONFIG.epochs + CONFIG.people_epochs


def test_the_forecast_counts_the_updates_of_every_stage(folder, make_card):
    card = parse_card(make_card(student=str(folder)))
    taught = pl.Series("text", [f"number {index} was nice" for index in range(60)])
    human = pl.DataFrame({"text": [f"ask for {index}" for index in range(20)], "label": ["tip", "other"] * 10})
    mixed, both = (forecast(card, config, taught, human).words for config in (replace(CONFIG, stages="mixed"), CONFIG))
    updates = [int(words.partition("at most ")[2].split()[0]) for words in (mixed, both)]
    assert updates[0] % CONFIG.epochs == 0
    assert updates[1] == updates[0] + CONFIG.people_epochs
