"""What the student costs and how fast it is, beside its teacher."""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from understudy.reports.evaluation.sentences import Evaluation
from understudy.reports.layout import section, table
from understudy.reports.markup import Child, element
from understudy.text import numbers


def cost(evaluation: Evaluation) -> Element:
    """Set cost and latency beside the teacher's, with the arithmetic."""
    costs, speed = evaluation["costs"], evaluation["speed"]
    median, p95 = (numbers.milliseconds(speed[name]["value"]) for name in ("p50_latency_ms", "p95_latency_ms"))
    month = numbers.count(costs["texts_per_month"], "text")
    rows: list[list[Child]] = [
        ["1,000 texts", *_dollars(costs, "per_1k_usd")],
        [f"{month} a month", numbers.usd(costs["student_running_usd"]), numbers.usd(costs["teacher_month_usd"])],
        ["Once, to make it", numbers.usd(costs["one_off_usd"]), "nothing"],
        ["A month, all in all", *_dollars(costs, "month_usd")],
        ["One text", f"{median} median, {p95} P95", f"{speed['teacher_seconds_per_text'] * 1000:,.0f} ms, by the card"],
    ]
    return section(
        "Cost and latency",
        "cost",
        table("Cost and latency beside the teacher's", ["", "Student", "Teacher"], rows, kind="dense"),
        element("h3", "How the costs come about"),
        element("ol", [element("li", line) for line in costs["arithmetic"]], class_="arithmetic"),
        element("p", speed_words(speed), class_="muted"),
        element("p", numbers.first_stage(evaluation["bundle"]["cascade"]), class_="muted"),
    )


def _dollars(costs: Mapping[str, Any], name: str) -> list[str]:
    return [numbers.usd(costs[f"{who}_{name}"]) for who in ("student", "teacher")]


def speed_words(speed: Mapping[str, Any]) -> str:
    """Say where and how speed was measured."""
    interval = speed["p95_latency_ms"]
    return (
        f"Latency: {numbers.count(speed['latency_texts'], 'test text')} one at a time on one thread; P95 with its 95% "
        f"interval {numbers.milliseconds(interval['low'])} to {numbers.milliseconds(interval['high'])}. Throughput: "
        f"{speed['texts_per_second']:,.0f} texts a second in batches on {numbers.count(speed['cores'], 'core')}. The "
        f"teacher's {speed['teacher_seconds_per_text']:g} seconds a text come from the card."
    )
