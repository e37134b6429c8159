"""Our figures beside those of the four systems: generated, up to date, and said as they are."""

import re
from dataclasses import asdict

import pytest

from benchmarks import preference
from tools import seeds


def result(value: float) -> dict:
    figures = {seed.figure: {"value": value, "low": value - 0.01, "high": value + 0.01} for seed in seeds.SEEDS}
    return {"date": "2026-12-01", "figures": figures, "settings": {"size": "small"}, "seeds": [0], "seconds": 3600}


def test_the_page_and_the_readme_are_up_to_date() -> None:
    results = seeds.read_kept()
    assert seeds.PAGE.read_text(encoding="utf-8") == seeds.page(results), "run `make docs`"
    readme = seeds.README.read_text(encoding="utf-8")
    assert readme == seeds.refreshed_readme(readme, results), "run `make docs`"


@pytest.mark.parametrize(("value", "words"), [(2.0, "reached"), (-1.0, "not reached")])
def test_every_system_has_its_verdict(value: float, words: str) -> None:
    told = seeds.table({"quality": result(value), "preference": result(value)})
    assert [line.rsplit("| ", 1)[1] for line in told.splitlines()[2:]] == [f"{words} |"] * 4


def test_the_figure_of_pairs_is_one_that_its_benchmark_gives(monkeypatch) -> None:
    figures = {"accuracy": 0.6, "macro_f1": 0.5, "teacher_accuracy": 0.7}
    monkeypatch.setattr(preference, "scored", lambda task, way, seed: figures)
    found = preference.figures_of("acts_500", [1])
    (seed,) = (one for one in seeds.SEEDS if one.benchmark == "preference")
    of_one_seed = {**result(0.0), "figures": {seed.figure: asdict(found[seed.figure])}}
    line = seeds.table({"preference": of_one_seed}).splitlines()[-1]
    assert line.endswith("| 0.000 points; 1 seed, size small | 1.5 points | not told by one seed |")


def test_what_nobody_measured_stands_as_such() -> None:
    assert seeds.table({}).count("| - |") == len(re.findall("not measured yet", seeds.table({}))) == 4


def test_a_page_says_the_date_the_seeds_the_size_and_the_hours() -> None:
    assert "## benchmark-quality, 2026-12-01\n\n1 seed, size small, 1.0 hours." in seeds.page({"quality": result(0.5)})


def test_results_are_kept_with_their_date(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(seeds, "BUILD", tmp_path)
    monkeypatch.setattr(seeds, "KEPT", tmp_path / "kept")
    (tmp_path / "benchmark-quality.json").write_text('{"figures": {}}')
    assert seeds.keep("2026-12-01") == ["quality"]
    assert seeds.read_kept() == {"quality": {"date": "2026-12-01", "figures": {}}}
