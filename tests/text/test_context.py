import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from understudy.text.context import Turns, asked, contexts, in_order, parted, preceding, seen, turns_before
from understudy.text.seen import asked_of, columns_of, seen_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
TURNS = st.lists(TEXT, max_size=6)


@given(turns=TURNS, words=st.integers(1, 12))
def test_a_context_keeps_no_more_words_than_asked_for_and_the_last_ones(turns, words):
    found = preceding(turns, words)
    kept = [word for turn in found.split(" | ") for word in turn.split()] if "|" not in "".join(turns) else []
    said = " ".join(turns).split()
    assert len(kept) <= words
    assert len(found) <= words * 8 + 3 * len(turns)
    if kept and all(len(word) <= 8 for word in said) and words * 8 > sum(map(len, said)) + len(said):
        assert kept == said[-words:]


@given(turns=TURNS, words=st.integers(1, 12), farther=TEXT)
def test_what_is_farther_away_never_changes_what_is_kept_of_the_nearer(turns, words, farther):
    assert preceding([farther, *turns], words).endswith(preceding(turns, words))


@given(turns=TURNS, words=st.integers(1, 12))
def test_cutting_each_turn_first_changes_nothing(turns, words):
    assert preceding([preceding([turn], words) for turn in turns], words) == preceding(turns, words)


def test_the_turns_are_cut_from_the_far_end():
    turns = ["Good morning to all of you.", "Is the pool open?", "Until nine."]
    assert preceding(turns, 60) == "Good morning to all of you. | Is the pool open? | Until nine."
    assert preceding(turns, 7) == "you. | Is the pool open? | Until nine."
    assert preceding(turns, 1) == "nine."
    assert preceding(["入" * 500], 2) == "入" * 16


def test_a_text_without_turns_before_it_is_read_as_it_stands():
    assert seen(None, "Okay. || No.") == seen("", "Okay. || No.") == "Okay. || No."


@given(context=st.none() | TEXT, text=TEXT)
def test_what_a_teacher_is_asked_parts_again(context, text):
    assert parted(asked(context, text)) == (context or "", text)


GROUPED = st.lists(st.tuples(st.sampled_from(["a", "b", None]), TEXT, st.none() | st.integers(0, 9).map(str)))


@given(rows=GROUPED, turns=st.integers(1, 4))
def test_a_context_comes_of_earlier_texts_of_the_same_group_alone(rows, turns):
    groups, texts, _ = zip(*rows, strict=True) if rows else ((), (), ())
    found = contexts(groups, texts, None, turns, 60)
    for place, (group, context) in enumerate(zip(groups, found, strict=True)):
        before = [text for other, text in zip(groups[:place], texts[:place], strict=True) if other == group]
        assert context == ((preceding(before[-turns:], 60) or None) if group else None)


@given(rows=GROUPED, turns=st.integers(1, 4))
def test_texts_that_go_by_give_the_same_as_all_at_once(rows, turns):
    last = Turns(turns, 20)
    groups, texts, _ = zip(*rows, strict=True) if rows else ((), (), ())
    names = [str(number) for number in range(len(rows))]
    gone_by = [last.before(*row) for row in zip(groups, texts, names, strict=True)]
    assert [context for context, _ in gone_by] == contexts(groups, texts, None, turns, 20)
    at_once = turns_before(groups, None, turns)
    assert [named for _, named in gone_by] == [[names[place] for place in places] for places in at_once]


@given(rows=GROUPED)
def test_an_order_sorts_each_group_as_if_its_rows_stood_so(rows):
    groups, texts, values = zip(*rows, strict=True) if rows else ((), (), ())
    found = contexts(groups, texts, values, 3, 60)
    for name in ("a", "b"):
        places = [place for place, group in enumerate(groups) if group == name]
        order = [places[place] for place in in_order([values[place] for place in places])]
        ordered = contexts([name] * len(order), [texts[place] for place in order], None, 3, 60)
        assert [found[place] for place in order] == ordered


def test_numbers_are_put_in_order_as_numbers_and_all_else_as_strings():
    assert in_order(["1700000000000000002", "1700000000000000001", "9"]) == [2, 1, 0]
    assert in_order(["1.5", "-2", "1e1"]) == [1, 0, 2]
    assert in_order(["2026-11-02", "2026-11-01"]) == [1, 0]
    assert in_order(["nan", "1"]) == [1, 0]  # no number
    assert in_order(["2", "2", "1"]) == [2, 0, 1]
    assert in_order(["2", None, "1"]) == [0, 1, 2]


def test_a_table_without_context_is_read_by_its_texts():
    table = pl.DataFrame({"id": ["1", "2"], "text": ["Okay.", "No."]})
    behind = table.with_columns(context=pl.Series([None, "Is it open?"], dtype=pl.String))
    assert seen_of(table).to_list() == asked_of(table) == ["Okay.", "No."]
    assert seen_of(behind).to_list() == ["Okay.", "Is it open? || No."]
    assert asked_of(behind) == ["Okay.", "Is it open?\udfffNo."]
    assert (columns_of(table), columns_of(behind)) == (["text"], ["text", "context"])
