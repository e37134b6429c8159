"""A loop of trainings on this machine: its queues are answered from a file, and a kill costs one step."""

import pytest

from tests.conftest import card_yaml
from tests.toys.loop import TEXTS
from understudy.review import labels
from understudy.store import cycles
from understudy.store.storage import open_store

STEPS = ["gather", "double", "decide", "ship"]


@pytest.fixture
def looped(desk):
    """A desk whose steps leave queues, and a file that answers the first texts by id or by what they say."""
    rows = ["id,text,label", "t0,,tip", ",TEXT t1,other", "t2,,tip", "t3,,Tip", "t4,,tip"]
    (desk.folder / "answers.csv").write_text("\n".join(rows) + "\n")
    return desk


def loop(*options):
    return ("--cycles", "2", "--answers", "answers.csv", "--name", "loop", *options)


def said(desk):
    return labels.read_all(open_store(str(desk.folder / "store")), "toy").select("id", "label", "annotator").rows()


def test_each_cycle_learns_what_simulated_reviewers_said_of_the_queue_before(looped, run):
    done = run(looped, *loop(), env={"TOY_LOOP": 1})
    assert done.returncode == 0, done.stderr
    assert looped.ran() == STEPS * 2
    assert said(looped) == [("t0", "tip", "simulated"), ("t1", "other", "simulated"), ("t2", "tip", "simulated")]
    recorded = cycles.read_all(open_store(str(looped.folder / "store")), "toy")
    assert [one.taught_by_people for one in recorded] == [0, TEXTS]
    assert "Simulated reviewers answered 3 texts of the queue after-0\n" in done.stdout
    assert done.stdout.endswith("The loop ends: all cycles have run\n")


def test_texts_that_the_file_lacks_are_counted(looped, run):
    done = run(looped, *("--cycles", "3", "--answers", "answers.csv"), env={"TOY_LOOP": 1})
    assert "answered 2 texts of the queue after-3; 1 that answers.csv lacks\n" in done.stdout


def test_a_loop_that_was_killed_in_a_step_goes_on_and_does_nothing_twice(looped, run):
    process = looped.start_until("double", *loop(), TOY_LOOP=1, TOY_SLEEP="double")
    process.kill()
    process.communicate()
    before = looped.ran()
    done = run(looped, *loop("--resume"), env={"TOY_LOOP": 1})
    assert done.returncode == 0, done.stderr
    assert looped.ran()[len(before) :] == [*STEPS[1:], *STEPS]
    assert len(said(looped)) == TEXTS
    assert len(cycles.read_all(open_store(str(looped.folder / "store")), "toy")) == 2


def test_a_loop_that_was_killed_at_the_end_of_a_cycle_answers_no_later_queue(looped, run):
    assert run(looped, *loop(), env={"TOY_LOOP": 1}).returncode == 0
    (looped.runs / "loop-cycle-2/ended.json").unlink()
    assert run(looped, *loop("--resume"), env={"TOY_LOOP": 1}).returncode == 0
    assert looped.ran() == STEPS * 2
    assert len(said(looped)) == TEXTS


def test_a_loop_ends_where_its_budget_is_used_up(looped, run):
    budget = {"teacher_usd": 5.0, "human_labels": TEXTS}
    (looped.folder / "card.yaml").write_text(card_yaml(name="toy", budget=budget))
    done = run(looped, "--cycles", "9", "--answers", "answers.csv", env={"TOY_LOOP": 1})
    assert "The loop ends: budget used up\n" in done.stdout
    assert looped.ran() == STEPS * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cycles", "2"), "must be given what simulated reviewers answer"),
        (("--cycles", "2", "--answers", "answers.csv", "--resume"), "A loop that is resumed must be named"),
        (("--cycles", "2", "--answers", "answers.csv", "--dry-run"), "--dry-run must be of one training"),
    ],
)
def test_what_a_loop_needs_is_said_before_anything_runs(looped, run, options, said):
    done = run(looped, *options)
    assert (done.returncode, looped.ran()) == (2, [])
    assert said in done.stderr
