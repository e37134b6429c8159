"""Look up what a model costs: the list prices in `prices.json`, which has their date and, for each, its source."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("prices.json")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens.

    Attributes:
        input_usd: of the request.
        output_usd: of the answer.
        source: page that says so.
    """

    input_usd: float
    output_usd: float
    source: str


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices by a model's name, which must be written just so: dated versions of a model have prices of their own.

    Attributes:
        as_of: day of the prices, such as 2025-06-30.
        models: by name.
    """

    as_of: str
    models: Mapping[str, Price]


@cache
def listed() -> PriceList:
    """Read the list.

    >>> listed().models["gpt-4.1-mini"].input_usd
    0.4
    """
    content = json.loads(FILE.read_text(encoding="utf-8"))
    models = {name: Price(one["input"], one["output"], one["source"]) for name, one in content["models"].items()}
    return PriceList(content["as_of"], models)
