"""Malformed input from a seed: bytes that were damaged, values of another kind, and classes written by hand."""

import json
import random
import string
from collections.abc import Callable
from typing import Any

LONG, WIDE, DEEP = 100_000, 20_000, 5_000
TORN = "\ud800"
RAW = {  # JSON that Python's own values cannot say, put in the place of a word
    "@huge@": "1" + "0" * 5_000,
    "@deep@": "[" * DEEP + "]" * DEEP,
    "@deep-objects@": '{"a":' * DEEP + "1" + "}" * DEEP,
    "@nan@": "NaN",
    "@infinity@": "-Infinity",
    "@float@": "1e999",
    "@twice@": '{"id": 1, "id": 2}',
    "@torn@": '"\\ud800"',
    "@nul@": '"a\\u0000b"',
}
ODD: tuple[Any, ...] = (
    *RAW,
    *(
        None,
        True,
        False,
        0,
        -1,
        2**63,
        1.5,
        10**400,
        "",
        " ",
        "\n",
        "nan",
        "null",
        "~",
        "-",
        "/",
        "\\",
        "'",
        '"',
        "%00",
    ),
    *(
        "../../../.ssh",
        "/etc/passwd",
        "..",
        ".",
        "a/../../b",
        "s3://other/bucket",
        "http://127.0.0.1:9/",
        "file:///etc",
    ),
    *("2026-13-01", "0000-00-00", "9999-12-31", "2026-11-01T00:00:00+99:00", "1e309", "=1+1", "@SUM(A1)", "é" * 300),
    *(
        [],
        {},
        [[]],
        [None],
        {"": None},
        {"a": {"b": {}}},
        ["x"] * 1000,
        [{}] * 50,
        "x" * LONG,
        "\u202e",
        "\ufeff",
        "🙂",
    ),
)

Made = Callable[[random.Random], bytes]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with one to four damages."""
    for _ in range(chance.randrange(1, 5)):
        data = chance.choice(DAMAGES)(data, chance)
    return data


def _at(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: _at(data, chance)]


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data or b"x")
    for _ in range(chance.randrange(1, 8)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _inserted(data: bytes, chance: random.Random) -> bytes:
    sign = chance.choice(
        [b"\0", b"\xff", b"\r", b"\n", b'"', b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1a", b"{", b"- ", b"\t"]
    )
    place = _at(data, chance)
    return data[:place] + sign * chance.choice([1, 1, 3, 1000]) + data[place:]


def _repeated(data: bytes, chance: random.Random) -> bytes:
    first, last = sorted((_at(data, chance), _at(data, chance)))
    return data[:last] + data[first:last] * chance.choice([1, 2, 50]) + data[last:]


def _dropped(data: bytes, chance: random.Random) -> bytes:
    first = _at(data, chance)
    return data[:first] + data[first + chance.choice([1, 2, 16, 200]) :]


def _recoded(data: bytes, chance: random.Random) -> bytes:
    return data.decode("utf-8", "replace").encode(
        chance.choice(["utf-16", "utf-32", "latin-1", "utf-16-be"]), "replace"
    )


def _other(data: bytes, chance: random.Random) -> bytes:
    return chance.choice(
        [b"", b"\0" * 64, chance.randbytes(200), b"null", b"[]", b"{}", b'"x"', b"\n" * 1000, b"PAR1", b"a"]
    )


DAMAGES = (_cut, _flipped, _inserted, _repeated, _dropped, _recoded, _other, _flipped, _inserted)


def restructured(content: Any, chance: random.Random) -> Any:
    """Return a value in which one to three places hold something of another kind, are gone, or stand twice."""
    for _ in range(chance.randrange(1, 4)):
        content = _changed(content, chance)
    return content


def _changed(content: Any, chance: random.Random) -> Any:
    if not isinstance(content, dict | list) or not content or chance.random() < 0.1:
        return chance.choice(ODD)
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key, changed = chance.choice(keys), content.copy()
    what = chance.random()
    if what < 0.15:
        del changed[key]
    elif what < 0.25:
        _widened(changed, chance)
    elif what < 0.55 and isinstance(content[key], dict | list):
        changed[key] = _changed(content[key], chance)
    else:
        changed[key] = chance.choice(ODD)
    return changed


def _widened(content: Any, chance: random.Random) -> None:
    """Give an object many keys, or one of an odd name; repeat a list's last part many times."""
    if isinstance(content, list):
        content.extend(content[-1:] * chance.choice([1, 500]))
        return
    names = (
        [f"k{number}" for number in range(WIDE)]
        if chance.random() < 0.3
        else [chance.choice(["", "a\0", "é", "__class__"])]
    )
    content.update(dict.fromkeys(names, 1))


def written(content: Any, indent: int | None = None) -> bytes:
    """Write JSON, also what JSON cannot say."""
    text = json.dumps(content, ensure_ascii=True, indent=indent)
    for word, raw in RAW.items():
        text = text.replace(json.dumps(word), raw)
    return text.encode("utf-8", "surrogatepass")


def json_bytes(data: bytes, chance: random.Random) -> bytes:
    """Change a JSON object, or a line of JSON Lines; by its bytes where it cannot be read."""
    if chance.random() < 0.35:
        return damaged(data, chance)
    lines = data.splitlines() if data.count(b"\n") > 1 and data[:1] == b"{" and data[:2] != b"{\n" else [data]
    number = chance.randrange(len(lines))
    try:
        lines[number] = written(restructured(json.loads(lines[number]), chance))
    except ValueError:
        return damaged(data, chance)
    return b"\n".join(lines)


# Cards


def cards(card: str, chance: random.Random) -> bytes:
    """Return a malformed card."""
    import yaml

    kind = chance.random()
    if kind < 0.3:
        return damaged(card.encode(), chance)
    if kind < 0.65:
        return written(restructured(yaml.safe_load(card), chance), indent=1)  # JSON is YAML
    return chance.choice(CARDS)(card, chance).encode("utf-8", "surrogatepass")


def _with(card: str, line: str) -> str:
    """Put a line in the place of the card's own of that key."""
    key = line.partition(":")[0]
    kept, is_own = [], False
    for row in card.splitlines():
        is_own = row.startswith(f"{key}:") or (is_own and row[:1] in {" ", "-"})
        kept += [] if is_own else [row]
    return "\n".join([*kept, line, ""])


def _pattern(card: str, chance: random.Random) -> str:
    patterns = [
        "a{99999999999999999999}",
        "^(a+)+$",
        "(" * 500,
        "[",
        "(?P<x",
        "(?<=a)b",
        r"(a)\1",
        "a{1000}{1000}{1000}",
    ]
    patterns += [
        "(x+x+)+y",
        ".*" * 200,
        "\\",
        "(?i",
        "\ud800",
        "a" * 50_000,
        "(?:" * 300 + ")" * 300,
        "\\p{Greek}",
        "[[:x:]]",
    ]
    return _with(
        card, f"weak_rules: {written([{'name': 'x', 'pattern': chance.choice(patterns), 'label': 'tip'}]).decode()}"
    )


def _bomb(card: str, chance: random.Random) -> str:
    depth = chance.choice([9, 30])
    lines = ["x0: &a0 {k: 1}"]
    if chance.random() < 0.5:
        lines += [f"x{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, depth)]
    else:
        lines += [f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, depth)]
    return "\n".join([*lines, card])


def _deep(card: str, chance: random.Random) -> str:
    opened, closed = chance.choice([("[", "]"), ("{a: ", "}")])
    depth = chance.choice([300, DEEP])
    return _with(card, f"rules: {opened * depth}{closed * depth}")


def _block_deep(card: str, chance: random.Random) -> str:
    if chance.random() < 0.5:
        return card + "\n" + "- " * DEEP + "x\n"
    return card + "\n" + "\n".join(" " * number + "a:" for number in range(800)) + "\n"


def _wide(card: str, chance: random.Random) -> str:
    key = chance.choice(["slices", "weak_rules", "labels", "rules", "keys", "section"])
    numbers = range(WIDE)
    if key == "keys":
        return card + "\n" + "\n".join(f"k{n}: 1" for n in numbers) + "\n"
    if key == "section":
        return _with(card, "label: {" + ", ".join(f"k{n}: 1" for n in numbers) + "}")
    items = {
        "slices": lambda n: f"{{name: s{n}, pattern: a{n}}}",
        "weak_rules": lambda n: f"{{name: w{n}, pattern: a{n}, label: tip}}",
        "labels": lambda n: f"{{name: l{n}, definition: d}}",
        "rules": lambda n: f"rule {n}",
    }[key]
    return _with(card, f"{key}: [{', '.join(items(n) for n in numbers)}]")


def _number(card: str, chance: random.Random) -> str:
    value = chance.choice(
        ["9" * 5000, "0x" + "f" * 5000, "1e400", ".nan", "-.inf", "1_0:30", "0o7777777777777777777777777", "1" * 400]
    )
    where = chance.choice(
        [
            "budget: {teacher_usd: %s}",
            "goals: {f1: %s}",
            "label: {texts: %s}",
            "train: {epochs: %s}",
            "retention: {predictions_days: %s}",
        ]
    )
    return _with(card, where % value)


YAML_LINES = (
    *("name: !!python/object/apply:os.system ['true']", "name: !!binary aGVsbG8=", "name: &a [*a]", "name: *missing"),
    *("? [a, b]\n: c", "<<: 5", "<<: *x", "name: |\n\ta", "name: 2026-02-30", "name: 12:30:45", "%YAML 9.9"),
    *("--- a\n--- b", "name: !!set {a}", "name: !!timestamp 9999999-01-01", "name: !!int '0b'", "name: !!float 'x'"),
    *("name: a\nname: b", "positive_label: [tip]", "labels: {tip: other}", "labels: null", "slices: tip", "teacher: 5"),
    *("student: ../../etc", "student: /dev/zero", "student: /proc/self/mem", "name: 'a\\0'", 'name: "a\\0b"'),
    *('question: "\\uD800"', "unit: !x y", "name: " + "n" * LONG, "question: " + "q" * (20 * LONG), "!!map {}"),
    "slices: [{name: a, pattern: 5, max_words: x}]",
)


def _yaml(card: str, chance: random.Random) -> str:
    return _with(card, chance.choice(YAML_LINES))


CARDS = (_pattern, _bomb, _deep, _block_deep, _wide, _number, _yaml, _yaml)


# Tables of texts, labels and answers


def tables(table: bytes, columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    """Return the ending and the bytes of a malformed CSV or JSONL; `table` is a sound CSV of these columns."""
    kind = chance.random()
    if kind < 0.3:
        return "csv", damaged(table, chance)
    rows = [dict(zip(columns, line.split(","), strict=False)) for line in table.decode().splitlines()[1:]]
    if kind < 0.5:
        lines = [written(restructured(row, chance) if chance.random() < 0.3 else row) for row in rows]
        return "jsonl", b"\n".join(lines)
    return chance.choice(TABLES)(table, columns, chance)


def _columns(_table: bytes, columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    extra = [f"c{number}" for number in range(chance.choice([3_000, 200_000]))]
    return "csv", "\n".join([",".join([*columns, *extra]), ",".join("x" for _ in (*columns, *extra))]).encode()


def _keys(_table: bytes, columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    row = dict.fromkeys([*columns, *(f"k{number}" for number in range(chance.choice([3_000, 200_000])))], "x")
    if chance.random() < 0.5:
        return "jsonl", written(row)
    rows = [{**dict.fromkeys(columns, "x"), f"k{number}": 1} for number in range(20_000)]
    return "jsonl", b"\n".join(written(row) for row in rows)


def _open_quote(table: bytes, _columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    # sound rows after the quote are labelled: 300,000 of them are ten seconds of honest work, and tell no hang from it
    lines = table.splitlines()
    return "csv", b"\n".join(
        [lines[0], b'x,"never closed', *([b"one,more line,of many"] * chance.choice([1, 100_000]))]
    )


def _long(_table: bytes, columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    cell = chance.choice(["x", "é", " ", "\u0301", "a b "]) * chance.choice([200_000, 5_000_000])
    return "csv", "\n".join([",".join(columns), ",".join([cell] + ["y"] * (len(columns) - 1))]).encode()


def _header(table: bytes, columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    joined = [sign.join(columns) for sign in (";", "\t", "|", ",,", " , ")]
    joined += [",".join([*columns, columns[0]]), ",".join(reversed(columns)), ",".join(columns).upper()]
    joined += ["", ",", '"id', "id", "\ufeff\ufeffid,text", "sep=;\n" + ";".join(columns)]
    first = chance.choice(joined)
    return "csv", b"\n".join([first.encode(), *table.splitlines()[1:]])


def _cells(_table: bytes, columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    odd = [value for value in ODD if isinstance(value, str) and value not in RAW] + [
        str(10**400),
        "1e999",
        "0001-01-01",
        "1730419200000",
    ]
    more = chance.choice([(), ("group",), ("time",), ("split",), ("annotator",)])
    names = [*columns, *more]
    rows = [[chance.choice(odd) if chance.random() < 0.3 else f"v{number}" for _ in names] for number in range(40)]
    import csv
    import io

    out = io.StringIO()
    csv.writer(out).writerows([names, *rows])
    return "csv", out.getvalue().encode("utf-8", "surrogatepass")


def _lines(_table: bytes, columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    good = json.dumps(dict.fromkeys(columns, "x"))
    odd = [
        "",
        "null",
        "[]",
        "5",
        '"x"',
        "{",
        "}",
        "\0",
        TORN,
        RAW["@deep@"],
        RAW["@deep-objects@"],
        RAW["@twice@"],
        "{}" * 5,
        "NaN",
        "\ufeff{}",
        RAW["@huge@"],
    ]
    odd += [f'{{"{columns[0]}": {raw}, "{columns[-1]}": "x"}}' for raw in RAW.values()]
    lines = [good if chance.random() < 0.5 else chance.choice(odd) for _ in range(12)]
    return "jsonl", "\n".join(lines).encode("utf-8", "surrogatepass")


TABLES = (_columns, _keys, _open_quote, _long, _header, _cells, _lines, _cells, _lines, _header)


def label_studio(columns: tuple[str, ...], chance: random.Random) -> tuple[str, bytes]:
    """Return a malformed export of Label Studio."""
    result = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["tip"]}}
    annotation = {"id": 1, "completed_by": 1, "was_cancelled": False, "result": [result]}
    tasks = [{"id": n, "data": {"id": f"t{n}", "text": f"x {n}"}, "annotations": [annotation]} for n in range(6)]
    content = tasks if chance.random() < 0.8 else tasks[0]
    data = written(restructured(restructured(content, chance), chance))
    return "json", damaged(data, chance) if chance.random() < 0.3 else data


# Words of a command


def words(chance: random.Random) -> str:
    """Return an odd word for a command line; it holds no NUL, which no command line can."""
    odd = [value for value in ODD if isinstance(value, str) and value not in RAW]
    odd += [
        "p" * 5_000,
        "/" + "d/" * 3_000,
        "s3://",
        "s3://b",
        "s3:///x",
        "file://host/x",
        "\udcff\udcfe",
        "--",
        "-",
        "~root/x",
        "*",
        "day[1].csv",
    ]
    odd += [
        "s3://B/ä?#%",
        "http://user:pw@127.0.0.1:9/x",
        "&a [*a]",
        "{a: [}",
        "1" * 5_000,
        "x=" * 50,
        "".join(chance.choices(string.printable, k=40)),
    ]
    return chance.choice(odd).replace("\0", "")


def settings(chance: random.Random) -> str:
    """Return an odd value of --set."""
    key = chance.choice(
        [
            "label.texts",
            "texts",
            "train.epochs",
            "epochs",
            "",
            "label",
            "label.",
            ".texts",
            "x.y",
            "infer.texts_per_segment",
            "retries",
        ]
    )
    value = chance.choice(
        [
            "&a [*a]",
            "[" * DEEP,
            "{a: 1, a: 2}",
            "1" * 5_000,
            ".nan",
            "!!python/name:os.system",
            "*x",
            "0x",
            "2026-02-30",
            "null",
            "-1",
            "1e400",
            "{<<: 5}",
            "\ud800",
            "|",
            "'",
        ]
    )
    return f"{key}={value}" if chance.random() < 0.9 else words(chance)


def numbered(seed: int, number: int) -> random.Random:
    """Return the chance of one input, which is the same whatever came before it."""
    return random.Random(f"{seed}-{number}")  # noqa: S311 - inputs, not secrets
