"""Both indices hold the same documents and answer the same searches."""

import itertools
import threading

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.nights import of_several, prediction, put_segment
from tests.search.conftest import QUICK
from understudy.data.limits import LONGEST_NAME
from understudy.search import elastic, opening
from understudy.search.documents import FIELDS, documents
from understudy.search.query import Query, parse
from understudy.search.sync import follow
from understudy.store import tombstones
from understudy.store.predictions import OF_EACH, OF_SEVERAL, PREDICTIONS

numbers = itertools.count()


def add(index, *rows):
    table = documents(pl.DataFrame(rows, schema=OF_SEVERAL if OF_EACH in rows[0] else PREDICTIONS), "card")
    taken = index.add(f"predictions/date=2026-11-03/v1/00-{next(numbers):05d}.parquet", table)
    index.finish()
    return taken


def ids(index, words="", **asked):
    return [found["id"] for found in index.search(parse(words, **asked)).documents]


def test_a_search_finds_texts_that_hold_every_word_in_any_case(index):
    add(index, prediction("a", "Ask for a LATE checkout."), prediction("b", "The checkout was quick."))
    assert ids(index, "late checkout") == ["a"]
    assert ids(index, "checkout") == ["a", "b"]
    assert ids(index, "breakfast") == []


def test_quoted_words_must_stand_side_by_side(index):
    add(
        index, prediction("a", "Check out late."), prediction("b", "Out of stock: check."), prediction("c", "check-out")
    )
    assert ids(index, '"check out"') == ["a", "c"]
    assert ids(index, "check-out") == ["a", "c"]


def test_words_in_other_scripts_and_signs_of_a_query_language_are_plain_words(index):
    add(
        index,
        prediction("a", "غرفة هادئة 🛏"),
        prediction("b", 'Say "please" AND NOT (x* OR y:z)'),
        prediction("c", "Été"),
    )
    assert ids(index, "هادئة") == ["a"]
    assert ids(index, "y:z) OR NOT AND") == ["b"]
    assert (ids(index, "été"), ids(index, "ete")) == (["c"], [])


def test_label_and_day_narrow_a_search(index):
    rows = [
        prediction("a"),
        prediction("b", label="other"),
        prediction("c", time="2026-10-31T23:59:59Z"),
        prediction("d", time="2026-11-01"),
        prediction("e", time=None, date="2026-11-03"),
        prediction("f", time="yesterday", date="2026-10-30"),
    ]
    add(index, *rows)
    assert ids(index, "late", label="tip", since="2026-11-01") == ["e", "a", "d"]


def test_a_search_counts_the_texts_of_every_label_however_it_is_called(index):
    kinds = ['=tip, "so"; <kbd>', "other's | -", "😀", "x" * 200]
    names = [kinds[min(number, 3)] for number in (0, 0, 0, 1, 1, 2, 3)]
    rows = [prediction(f"t{place}", label=name, runner_up="tip") for place, name in enumerate(names)]
    add(index, *rows, prediction("u", "Something else.", label="tip"))
    found = index.search(Query(phrases=("late",), limit=2))
    assert (found.total, len(found.documents)) == (7, 2)
    assert dict(found.labels) == {kinds[0]: 3, kinds[1]: 2, kinds[2]: 1, kinds[3]: 1}
    assert list(found.labels)[:2] == kinds[:2], "the commonest first"
    assert index.search(Query(label=kinds[1])).total == 2


def test_of_several_labels_of_a_text_each_is_counted_and_finds_it(index):
    sets = {"a": ["praise", "tip"], "b": ["tip"], "c": [], "d": ["praise", "wish"], "e": ["tip", "wish"]}
    add(index, *[of_several(name, labels) for name, labels in sets.items()])
    found = index.search(Query(phrases=("late",), limit=2))
    assert (found.total, len(found.documents), found.without) == (5, 2, 1)
    assert list(found.labels.items()) == [("tip", 3), ("praise", 2), ("wish", 2)]
    assert {name: ids(index, label=name) for name in ("praise", "tip", "wish", "[]", "[tip]")} == {
        "praise": ["a", "d"],
        "tip": ["a", "b", "e"],
        "wish": ["d", "e"],
        "[]": ["c"],
        "[tip]": [],
    }
    assert {one["id"]: one["label"] for one in index.search(Query()).documents} == sets


def test_a_text_that_got_other_labels_is_found_by_these_only(index):
    add(index, of_several("a", ["praise", "tip"]))
    add(index, of_several("a", ["wish"], generation=2))
    assert (ids(index, label="tip"), ids(index, label="wish")) == ([], ["a"])
    assert dict(index.search(Query()).labels) == {"wish": 1}


def test_a_label_that_reads_like_a_list_is_a_label(index):
    add(index, prediction("a", label='["tip"]'), prediction("b", label="tip"))
    found = index.search(Query(label='["tip"]'))
    assert ([one["label"] for one in found.documents], dict(found.labels)) == (['["tip"]'], {'["tip"]': 1})
    assert (ids(index, label="tip"), ids(index, label="[]")) == (["b"], [])


def test_the_newest_come_first_and_the_total_counts_all(index):
    add(index, *[prediction(f"t{day}", time=f"2026-11-{day:02d}") for day in range(1, 31)])
    answer = index.search(Query(limit=2))
    assert (answer.total, [found["id"] for found in answer.documents]) == (30, ["t30", "t29"])


def test_a_document_comes_back_with_every_field_as_it_was(index):
    given = prediction("a", 'Tab\tnewline\nquote" backslash\\ \u2028 emoji 🛏', time=None, probability=0.1 + 0.2)
    add(index, given)
    (found,) = index.search(Query()).documents
    assert {name: found[name] for name in FIELDS} == {**given, "when": "2026-11-03T00:00:00Z"}


def test_the_newer_answer_stands_whichever_comes_last(index):
    old, new = prediction("a", "old words", generation=1), prediction("a", "new words", generation=2)
    assert add(index, new).written == 1
    assert add(index, old).older == 1
    assert (ids(index, "new"), ids(index, "old"), index.count()) == (["a"], [], 1)
    assert add(index, new).written == 1, "the same version again is no conflict"


def test_a_replaced_text_is_found_by_its_new_words_only(index):
    add(index, prediction("a", "old words"))
    add(index, prediction("a", "new words", generation=2))
    assert (ids(index, "new"), ids(index, "old")) == (["a"], [])


def test_a_removed_text_is_found_no_more_by_id_or_group(index):
    add(index, prediction("a", group="g"), prediction("b", group="g"), prediction("c"), prediction("d"))
    assert index.remove(["c"], ["g"]) == 3
    assert ids(index, "late") == ["d"]
    assert index.remove(["c"], ["g"]) == 0


def test_a_removed_text_leaves_with_its_sentences_and_no_other(index):
    odd = 'a.b+(c)"\\#é'
    names = ["r1#1", "r1#20", "r1", "r11#1", "r1#x", "r1#2#3", f"{odd}#4", "axb+(c)#4"]
    add(index, *[prediction(name, start=3, end=8) for name in names])
    assert index.remove(["r1"], split=["r1", odd]) == 4
    assert sorted(ids(index, "late")) == sorted(["r11#1", "r1#x", "r1#2#3", "axb+(c)#4"])
    found = index.search(Query(limit=1)).documents[0]
    assert (found["start"], found["end"]) == (3, 8)


def test_sentences_are_found_however_long_an_id_and_however_many_begin_like_it(index, monkeypatch):
    monkeypatch.setattr(elastic, "PAGE", 2)
    monkeypatch.setattr(elastic, "STEMS_AT_ONCE", 2)
    monkeypatch.setattr(elastic, "NAMES_AT_ONCE", 3)
    longest = "ü" * LONGEST_NAME
    others = [f"{name}#{end}" for name in ("a", longest) for end in ("", "x", "1#", "2x", "3#x")]
    sentences = [f"{name}#{number}" for name in ("a", "b", longest) for number in range(4)]
    add(index, *[prediction(name) for name in (*others, *sentences)])
    assert index.remove([], split=["a", "b", "c", longest]) == len(sentences)
    assert sorted(ids(index, "late")) == sorted(others)
    assert index.remove(others) == len(others)


def test_nights_past_their_retention_leave_by_the_newest_answer(index):
    add(index, prediction("a", date="2026-10-01"), prediction("b", date="2026-10-01"))
    add(index, prediction("b", date="2026-11-01", scored_at="2026-11-01T03:00:00Z", generation=2))
    assert index.expire("2026-10-15") == 1
    assert ids(index, "late") == ["b"]


def test_a_segment_is_added_once_and_again_when_asked(index, store, place):
    put_segment(store, [prediction("a")])
    assert follow(index, store, place[1]).documents == 1
    assert follow(index, store, place[1]).documents == 0
    index.forget_progress()
    assert follow(index, store, place[1]).documents == 1
    assert index.count() == 1


def test_the_notes_of_one_run_serve_the_next(index, store, place):
    put_segment(store, [prediction("a")])
    follow(index, store, place[1])
    with opening.opened(store, place[1], place[0], QUICK) as later:
        assert follow(later, store, place[1]).segments == 0


def test_what_was_forgotten_does_not_come_back(index, store, place):
    put_segment(store, [prediction("a"), prediction("b", group="g"), prediction("c")])
    tombstones.remember_to_forget(store, "id", ["a"], "2026-11-03")
    tombstones.remember_to_forget(store, "group", ["g"], "2026-11-03")
    follow(index, store, place[1])
    assert ids(index, "late") == ["c"]


def test_two_runs_of_one_date_at_once_leave_one_document_a_text(place, store):
    for number in range(6):
        put_segment(store, [prediction(f"{number}-{row}") for row in range(50)], number)
    faults = []

    def run():
        try:
            with opening.opened(store, place[1], place[0], QUICK) as index:
                follow(index, store, place[1])
        except Exception as error:  # the thread's failure is the test's
            faults.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with opening.opened(store, place[1], place[0], QUICK) as index:
        answer = index.search(Query(limit=1000))
        assert len({found["id"] for found in answer.documents}) == answer.total == index.count() == 300


words = st.lists(st.sampled_from(["late", "check", "out", "été", "x1", "-", "…", "the"]), max_size=4).map(" ".join)


def is_askable(words):
    return not words or any(sign.isalnum() for sign in words)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(words.filter(str.strip), min_size=1, max_size=5), asked=words.filter(is_askable))
def test_both_indices_find_the_same(both, texts, asked):
    night = next(numbers)
    for one in both:
        one.remove([f"p{row}" for row in range(5)])
        add(one, *[prediction(f"p{row}", text, generation=night) for row, text in enumerate(texts)])
    embedded, served = both
    assert ids(embedded, asked) == ids(served, asked)


@pytest.fixture
def both(store, es_url, card_name):
    """Open both indices."""
    with (
        opening.opened(store, card_name, "", QUICK) as embedded,
        opening.opened(store, card_name, es_url, QUICK) as served,
    ):
        yield embedded, served
