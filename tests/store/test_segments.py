"""What is read as a segment of predictions was written by a worker."""

import pytest

from tests.nights import prediction, put_segment
from understudy.errors import BadArtifact
from understudy.store.segments import MOST_CHARS, parse


@pytest.mark.parametrize(("start", "end"), [(None, None), (0, 1), (7, MOST_CHARS)])
def test_a_text_has_no_place_and_a_sentence_has_one(store, start, end):
    key = put_segment(store, [prediction("a"), prediction("b#1", start=start, end=end)])
    assert parse(store.read(key), key).select("start", "end").row(1) == (start, end)


@pytest.mark.parametrize(("start", "end"), [(None, 1), (1, None), (-1, 2), (3, 3), (4, 3), (0, MOST_CHARS + 1)])
def test_a_sentence_that_lies_nowhere_is_no_prediction(store, start, end):
    key = put_segment(store, [prediction("a"), prediction("b#1", start=start, end=end)])
    with pytest.raises(BadArtifact, match="a sentence that lies nowhere"):
        parse(store.read(key), key)
