"""Malformed inputs over all that a person or another program can hand in, each to a command with a watchdog.

An input has a number, and is made from the seed and the number alone. Two things make it: what is changed (card, texts,
labels, answers, bundle, an object of the store, the words of the command) and how (generators.py).
"""

import hashlib
import json
import random
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attack import generators as make
from tests.attack import world
from tests.attack.figures import Counts
from tests.attack.forks import Command, Ended, apart, run, start

LIMIT_S, ROOM_KIB = 10.0, 200 * 1024
RUNAWAY_KIB = 300 * 1024  # past the room: the watchdog ends it
NEXT_NIGHT = "2026-11-02"
UNFORESEEN = re.compile(r"^(Traceback|(\w+\.)*[A-Z]\w*(Error|Exception|Exit|Interrupt|Warning)\b.*:)", re.MULTILINE)
OF_STORE = {  # what reads the objects below a prefix
    "current.json": ("predict", "shard", "rollback", "reindex", "sample", "watch"),
    "bundles/": ("predict", "shard", "infer", "reindex", "rollback"),
    "history/": ("rollback",),
    "manifests/": ("shard", "infer", "index", "watch", "sample", "nightly"),
    "predictions/": ("infer", "index", "watch", "sample", "reindex", "forget", "replay"),
    "refusals/": ("watch", "infer", "forget"),
    "indexed/": ("search", "index", "reindex", "replay", "forget"),
    "samples/": ("sample", "watch", "answers", "forget"),
    "quality/": ("watch", "sample"),
    "labels/": ("labels", "ingest", "forget"),
    "cards/": ("labels", "ingest", "card"),
    "judgements/": ("label", "forget", "sample"),
    "runs/": ("runs", "nightly"),
    "watch/": ("watch",),
    "forgotten/": ("shard", "index", "forget", "ingest"),
    "store.json": ("shard", "runs", "predict"),
}


NIGHT = "--card card.yaml --store store"
OUTPUTS = " ".join(f"--{name} out/{name}" for name in ("snapshot", "pool", "gold", "test", "refused"))
ASKED = "--card asked/snapshot --pool asked/pool --gold asked/gold --test asked/test"
ASKED += " --judgements out/judgements --test-judgements out/test_judgements"
DRAWN = "--snapshot out/snapshot --sample out/sample"
SOUND = {  # a command a line, on sound input; the text has no blanks, so that each word is one
    "card": "card check card.yaml",
    "predict": "predict Ask. --store store",
    "bundle": "predict Ask. --bundle bundle",
    "file": "predict --file texts/a.csv --bundle bundle",
    "shard": f"shard {NIGHT} --texts texts --snapshot out/snapshot --date {NEXT_NIGHT}",
    "infer": f"infer {NIGHT} --shard {world.NIGHT}/00 --predictions out/predictions {world.SOURCE}",
    "infer-bundle": "infer --bundle bundle --texts texts --predictions out/predictions",
    "index": f"index {NIGHT} --indexed out/indexed --date {world.NIGHT}",
    "watch": f"watch {NIGHT} --watched out/watched --page out/page --date {world.NIGHT}",
    "sample": f"sample {NIGHT} {DRAWN} --date {NEXT_NIGHT}",
    "answers": f"sample {NIGHT} {DRAWN} --date {NEXT_NIGHT} --answers answers.csv",
    "ingest": f"ingest {NIGHT} --texts texts --labels labels.csv {OUTPUTS} --set near_duplicate=1",
    "label": f"label --dry-run --store store {ASKED}",
    "labels": "labels add answers.csv --store store",
    "search": "search room --store store",
    "runs": "runs --store store",
    "rollback": "rollback --store store",
    "reindex": "reindex --from-store --store store",
    "replay": "reindex --replay --store store",
    "forget": "forget --id t3 --store store",
    "nightly": f"nightly {NIGHT} --texts texts --name second --work out/runs --date {NEXT_NIGHT}",
}
COMMANDS = tuple(SOUND)


@dataclass(frozen=True, slots=True)
class Desk:
    """The place of the attacked commands: a card, texts, labels, answers, a bundle, and a store with a night."""

    folder: Path

    @property
    def store(self) -> str:
        """Address of the store."""
        return str(self.folder / "store")

    def words(self, name: str) -> list[str]:
        """Return a command on sound input."""
        return ["understudy", *(["run"] if name == "nightly" else []), *SOUND[name].split()]

    def command(self, words: list[str]) -> Command:
        """Return a command at this desk; it has an index in SQLite and no teacher."""
        return Command(words, {"UNDERSTUDY_CACHE": str(self.folder / "cache")}, self.folder)


class Fuzz:
    """A lane of inputs over a desk that stands anew for each.

    Args:
        place: a folder of its own.
        seed: of all inputs.
    """

    def __init__(self, place: Path, seed: int) -> None:
        self.desk, self.seed = Desk(place / "desk"), seed
        self._template, self.sink = place / "template", place / "sink"
        build(self.desk, self.sink)
        self.desk.folder.rename(self._template)
        self._peaks: dict[str, int] = {}

    def each(self, numbers: Iterable[int]) -> Counts:
        """Try inputs by their numbers."""
        counts = Counts()
        for number in numbers:
            name, what, ended, peak = self.one(number)
            counts += judged(number, name, what, ended, peak)
        return counts

    def one(self, number: int) -> tuple[str, str, Ended, int]:
        """Try one input: returns the command, what was changed, how it ended, and the command's peak on good input."""
        name, words, what = self._made(number)
        if name not in self._peaks:
            self._peaks[name] = self._peak_of(name)
            self._made(number)
        peak = self._peaks[name]
        ended = self._watched(words, peak)
        if ended.is_hung:  # a second time: another process may have had the machine
            self._made(number)
            ended = self._watched(words, peak)
        return name, what, ended, peak

    def _made(self, number: int) -> tuple[str, list[str], str]:
        """Lay the desk out with one input on it; returns the command's name, its words and what was changed."""
        self.lay_out()
        return KINDS[number % len(KINDS)](self.desk, make.numbered(self.seed, number))

    def _watched(self, words: list[str], peak_kib: int) -> Ended:
        return start(self.desk.command(words), self.sink).wait(LIMIT_S, peak_kib + ROOM_KIB + RUNAWAY_KIB)

    def _peak_of(self, name: str) -> int:
        """Return what the command holds at most on good input."""
        self.lay_out()
        ended = run(self.desk.command(self.desk.words(name)), self.sink)
        if ended.code or UNFORESEEN.search(ended.err):
            raise RuntimeError(f"Good input must be taken ({name}), got {ended.code}: {ended.err[-1500:]}")
        return ended.peak_kib

    def lay_out(self) -> None:
        shutil.rmtree(self.desk.folder, ignore_errors=True)
        shutil.copytree(self._template, self.desk.folder)


def judged(number: int, name: str, what: str, ended: Ended, peak_kib: int) -> Counts:
    """Count what one input did."""
    told = f"fuzz {number}: {name} ({what})"
    over = (ended.peak_kib - peak_kib) / 1024
    is_silent = ended.code in {1, 2, 3} and not ended.err.strip() and not ended.out.strip()
    is_over = over > ROOM_KIB / 1024
    is_foul = not ended.is_hung and not is_over and (ended.code not in {0, 1, 2, 3} or is_silent)
    counts = Counts(fuzz=1)
    if is_foul or UNFORESEEN.search(ended.err):
        last = [line for line in ended.err.strip().splitlines() if line.strip()][-1:] or ["silence"]
        counts += Counts(tracebacks=1, notes=[f"{told}: exit code {ended.code}, {last[0][:300]}"])
    if ended.is_hung:
        counts += Counts(hangs=1, notes=[f"{told}: ran longer than {LIMIT_S:g} s"])
    if is_over:
        counts += Counts(memory_over=1, notes=[f"{told}: held {over:.0f} MB more than on good input"])
    return counts


def build(desk: Desk, sink: Path) -> None:
    """Make a desk: every kind of object that a store holds, written by the commands themselves."""
    world.make_night(desk.folder, desk.store, 90, {})
    folder = desk.folder
    rows = [(f"t{n}", "tip" if n % 8 < 4 else "other") for n in range(80)]
    world.write_csv(
        folder / "labels.csv", ("id", "label", "split"), [(*row, SPLITS[n % 4]) for n, row in enumerate(rows)]
    )
    world.write_csv(folder / "answers.csv", ("id", "label", "annotator"), [(*row, "ann") for row in rows[:8]])
    world.label_inputs(folder / "asked", 20)
    apart(_publish_another, desk.store, folder / "bundle-2")
    begun = " ".join(_settled(desk.words("nightly"), "first"))
    _take(desk, sink, begun.replace(NEXT_NIGHT, world.NIGHT).replace("second", "first").split())
    _take(desk, sink, _settled(desk.words("ingest"), "made"))
    for name in ("labels", "answers"):
        _take(
            desk, sink, [word.replace(NEXT_NIGHT, world.NIGHT) for word in _settled(desk.words(name), f"made-{name}")]
        )
    apart(_put_judgement, desk.store)
    _take(desk, sink, ["understudy", "forget", "--id", "nobody", "--store", "store"])


SPLITS = ("train", "validation", "calibration", "test")


def _take(desk: Desk, sink: Path, words: list[str]) -> None:
    ended = run(desk.command(words), sink)
    if ended.code:
        raise RuntimeError(f"A preparation must succeed, got {ended.code}: {' '.join(words)}: {ended.err[-1500:]}")


def _settled(words: list[str], name: str) -> list[str]:
    return [word.replace("out/", f"{name}/") if word.startswith("out/") else word for word in words]


def _publish_another(store: str, folder: Path) -> None:
    from tests.bundles import make_bundle
    from understudy.store import registry
    from understudy.store.storage import prepare_store

    registry.publish_bundle(prepare_store(store), make_bundle(folder, bias=-1.5), {"report.html": b"<p>"})


def _put_judgement(store: str) -> None:
    from understudy.store.storage import open_store
    from understudy.teacher.response_log import ResponseLog

    opened = open_store(store)
    ResponseLog(opened, world.CARD).close()
    said = {"id": "a" * 32, "judge": "rehearsal:x", "content": "b" * 64, "label": "tip", "probabilities": None}
    said |= {"rationale": None, "prompt_tokens": 5, "completion_tokens": 2, "cost_usd": 0.1, "is_rehearsal": True}
    opened.put_if_absent(f"judgements/{world.CARD}/rehearsal-x/{'c' * 32}.jsonl", json.dumps(said).encode() + b"\n")


# What is changed


def _card(desk: Desk, chance: random.Random) -> tuple[str, list[str], str]:
    file = desk.folder / "card.yaml"
    data = make.cards(file.read_text(encoding="utf-8"), chance)
    file.write_bytes(data)
    name = chance.choice(["card", "card", "shard", "nightly", "ingest", "index"])
    return name, desk.words(name), f"card, {len(data)} bytes"


def _texts(desk: Desk, chance: random.Random) -> tuple[str, list[str], str]:
    file = desk.folder / "texts/a.csv"
    ending, data = _table(desk, chance, file.read_bytes(), ("id", "text"))
    file.unlink()
    file.with_suffix(f".{ending}").write_bytes(data)
    name = chance.choice(["ingest", "shard", "file", "infer-bundle", "nightly"])
    words = [word.replace("a.csv", f"a.{ending}") for word in desk.words(name)]
    return name, words, f"texts, {ending}, {len(data)} bytes"


def _labels(desk: Desk, chance: random.Random) -> tuple[str, list[str], str]:
    file = desk.folder / "labels.csv"
    ending, data = _table(desk, chance, file.read_bytes(), ("id", "label", "split"))
    file.with_suffix(f".{ending}").write_bytes(data)
    return (
        "ingest",
        _renamed(desk.words("ingest"), "labels.csv", f"labels.{ending}"),
        f"labels, {ending}, {len(data)} bytes",
    )


def _queue(desk: Desk, chance: random.Random) -> tuple[str, list[str], str]:
    file, columns = desk.folder / "answers.csv", ("id", "label", "annotator")
    if chance.random() < 0.5:
        ending, data = make.label_studio(columns, chance)
    else:
        ending, data = _table(desk, chance, file.read_bytes(), columns)
    file.with_suffix(f".{ending}").write_bytes(data)
    name = chance.choice(["labels", "answers"])
    return name, _renamed(desk.words(name), "answers.csv", f"answers.{ending}"), f"answers, {ending}, {len(data)} bytes"


def _table(desk: Desk, chance: random.Random, table: bytes, columns: tuple[str, ...]) -> tuple[str, bytes]:
    if chance.random() < 0.15:
        some = next(iter(sorted((desk.folder / "store/predictions").rglob("*.parquet"))))
        return "parquet", make.damaged(some.read_bytes(), chance)
    return make.tables(table, columns, chance)


def _renamed(words: list[str], before: str, after: str) -> list[str]:
    return [after if word == before else word for word in words]


def _bundle(desk: Desk, chance: random.Random) -> tuple[str, list[str], str]:
    name, folder = chance.choice(["bundle", "bundle", "infer-bundle"]), desk.folder / "bundle"
    file = chance.choice(["bundle.json", "tokenizer.json", "model.onnx", "card.yaml", "graph", "graph"])
    if file == "graph":
        what = chance.choice(GRAPHS)
        (folder / "model.onnx").write_bytes(apart(_evil_graph, what))
        resealed(folder)
        return name, desk.words(name), f"bundle, {what}"
    data = (folder / file).read_bytes()
    is_json = file.endswith("json")
    (folder / file).write_bytes(make.json_bytes(data, chance) if is_json else make.damaged(data, chance))
    if file != "bundle.json" and chance.random() < 0.8:
        resealed(folder)
    return name, desk.words(name), f"bundle, {file}"


def resealed(folder: Path) -> None:
    """Write the hashes of the files as they are now, as the author of an evil bundle would."""
    from understudy.store.bundles import version_of

    settings = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    settings["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in settings["files"]}
    settings["version"] = version_of(world.CARD, {key: value for key, value in settings.items() if key != "version"})
    (folder / "bundle.json").write_text(json.dumps(settings), encoding="utf-8")


GRAPHS = ("huge", "nan", "three", "one", "integers", "no mask", "outside", "loop", "names", "scalar", "giant tensor")


def _evil_graph(what: str) -> bytes:
    """Write a graph that is no classifier of two labels, or one that never ends."""
    from onnx import TensorProto, helper

    kind = TensorProto.INT64 if what == "integers" else TensorProto.FLOAT
    width = {"three": 3, "one": 1}.get(what, 2)
    shape = [1 << 20, 1 << 16] if what == "huge" else [2, width]
    value = helper.make_tensor("value", kind, [1], [float("nan") if what == "nan" else 1])
    nodes = [_constant("shape", TensorProto.INT64, [2], shape)]
    nodes.append(helper.make_node("ConstantOfShape", ["shape"], ["logits"], value=value))
    if what == "loop":
        nodes += [_constant("truth", TensorProto.BOOL, [], [True]), _endless()]
    if what == "names":
        nodes.append(helper.make_node("Identity", ["logits"], ["scores"]))
    names = ("input_ids",) if what == "no mask" else ("input_ids", "attention_mask")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "length"]) for name in names]
    shown = None if what == "scalar" else ["texts", width]
    output = helper.make_tensor_value_info("scores" if what == "names" else "logits", kind, shown)
    graph = helper.make_graph(nodes, "evil", inputs, [output], _tensors(what))
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )


def _constant(name: str, kind: int, dims: list[int], values: list[Any]) -> Any:
    from onnx import helper

    return helper.make_node("Constant", [], [name], value=helper.make_tensor(f"{name}-value", kind, dims, values))


def _endless() -> Any:
    """Write a loop that goes on for as long as true is true."""
    from onnx import TensorProto, helper

    kinds = {"turn": TensorProto.INT64, "go": TensorProto.BOOL, "on": TensorProto.BOOL}
    turn, go, on = (helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items())
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["on"])], "body", [turn, go], [on])
    return helper.make_node("Loop", ["", "truth"], [], body=body)


def _tensors(what: str) -> list[Any]:
    """Write a tensor that says to be 128 GB large, or lies in another file."""
    from onnx import TensorProto

    if what not in {"outside", "giant tensor"}:
        return []
    far = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[1 << 18, 1 << 17])
    if what == "outside":
        far.data_location = TensorProto.EXTERNAL
        far.external_data.add(key="location", value="../../card.yaml")
    return [far]


def _object(desk: Desk, chance: random.Random) -> tuple[str, list[str], str]:
    """Damage one object of the store: kinds of objects by turns, as a store holds many of some."""
    root = desk.folder / "store"
    keys = sorted(
        str(file.relative_to(root)) for file in root.rglob("*") if file.is_file() and not file.name.endswith(".lock")
    )
    prefix = chance.choice([prefix for prefix in OF_STORE if any(key.startswith(prefix) for key in keys)])
    key = chance.choice([key for key in keys if key.startswith(prefix)])
    file = root / key
    data = file.read_bytes()
    is_json = file.suffix in {".json", ".jsonl"} or file.name.startswith(".")
    file.write_bytes(make.json_bytes(data, chance) if is_json else make.damaged(data, chance))
    name = chance.choice(OF_STORE[prefix])
    if name == "infer" and chance.random() < 0.5:
        for record in (root / "predictions").rglob("00.json"):
            record.unlink()
    return name, desk.words(name), f"store, {key}"


def _words(desk: Desk, chance: random.Random) -> tuple[str, list[str], str]:
    name = chance.choice(COMMANDS)
    words = desk.words(name)
    places = [
        number for number, word in enumerate(words) if number > 1 and not word.startswith("--") and words[1] != word
    ]
    if chance.random() < 0.3:
        words += ["--set", make.settings(chance)]
    elif places and chance.random() < 0.9:
        words[chance.choice(places)] = make.words(chance)
    else:
        words += [
            chance.choice(["--date", "--since", "--limit", "--label", "--to", "--group", "--file"]),
            make.words(chance),
        ]
    return name, words, f"words, {' '.join(words[1:])[:200]!r}"


KINDS = (_card, _object, _texts, _words, _queue, _object, _bundle, _labels, _card, _object)
