"""A store with a published bundle, a source of texts, and the calls that shard and label a night."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tests.bundles import make_bundle, make_card
from understudy.runtime.shell import Result, execute
from understudy.store import manifests, registry
from understudy.store.manifests import Manifest
from understudy.store.storage import Store, open_store, prepare_store


@dataclass
class Desk:
    """Everything that a night needs, in one folder; the store may be elsewhere."""

    folder: Path
    uri: str

    @property
    def store(self) -> Store:
        return open_store(self.uri)

    @property
    def source(self) -> Path:
        return self.folder / "texts"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    def publish(self, **about: Any) -> str:
        """Publish a bundle that differs by its bias, and return its version."""
        folder = self.folder / f"bundle-{about}" if about else self.bundle
        make_bundle(folder, **about)
        return registry.publish_bundle(prepare_store(self.uri), folder, {"report.html": b"<p>"}).version

    def write(self, name: str, rows: list[tuple[str, str]], mode: str = "w") -> Path:
        """Write a CSV of ids and texts, or append to it."""
        self.source.mkdir(exist_ok=True)
        with (self.source / name).open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(([("id", "text")] if mode == "w" else []) + rows)
        return self.source / name

    def shard(self, date: str, texts: str = "", **arguments: Any) -> Result:
        """Begin a night."""
        given = {"card": str(self.folder / "card.yaml"), "texts": texts or str(self.source), "store": self.uri}
        return execute("shard", {**given, "snapshot": self.folder / "snapshot", "date": date, **arguments})

    def infer(self, name: str, **arguments: Any) -> Result:
        """Label one shard."""
        source = arguments.pop("source", "") or manifests.read_manifest(self.store, name[:10]).source
        given = {"card": self.folder / "snapshot", "store": self.uri, "shard": name, "source": source}
        return execute("infer", {**given, "predictions": self.folder / "predicted", **arguments})

    def night(self, date: str, **arguments: Any) -> Manifest:
        """Begin a night and label all of it."""
        for name in self.shard(date, **arguments).parameters["shards"].split(","):
            self.infer(name, overrides=arguments.get("overrides", ""))
        return manifests.read_manifest(self.store, date)

    def predictions(self, date: str) -> pl.DataFrame:
        """Read a night's predictions, in the order of shards and segments."""
        keys = [key for key in self.store.list(f"predictions/date={date}/") if key.endswith(".parquet")]
        return pl.concat([pl.read_parquet(self.store.read(key)) for key in keys])

    def refused(self, date: str) -> pl.DataFrame:
        """Read a night's refused rows."""
        keys = self.store.list(f"refusals/date={date}/")
        return pl.concat([pl.read_parquet(self.store.read(key)) for key in keys])

    def record(self, date: str, shard: int = 0) -> dict[str, Any]:
        """Read the record of a shard that is complete."""
        manifest = manifests.read_manifest(self.store, date)
        content: dict[str, Any] = json.loads(self.store.read(manifests.shard_key(manifest, shard)))
        return content


def make_desk(folder: Path, uri: str = "", **about: Any) -> Desk:
    """Publish a bundle into a fresh store, of the two labels of the hotel's tips or as `about` says (`make_bundle`)."""
    desk = Desk(folder, uri or str(folder / "store"))
    (folder / "card.yaml").write_text(
        make_card(**{name: about[name] for name in ("labels", "is_many") if name in about}), encoding="utf-8"
    )
    make_bundle(desk.bundle, **about)
    registry.publish_bundle(prepare_store(desk.uri), desk.bundle, {"report.html": b"<p>"})
    return desk


def texts(first: int, last: int, prefix: str = "t") -> list[tuple[str, str]]:
    """Make texts with ids; every third is a tip for the toy bundle, and all differ."""
    return [
        (f"{prefix}{number}", f"{'Ask' if number % 3 == 0 else 'Stayed'} for the room number {number}")
        for number in range(first, last)
    ]
