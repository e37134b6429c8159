"""Generate docs from the code: the lists of the steps and of the store's keys, and what each step reads and obeys."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import understudy
from tools import seeds
from understudy.runtime import docstrings, shell
from understudy.store.layout import FAMILIES, Family, Stays
from understudy.task.steps import STEPS

STEPS_DIR = Path(understudy.__file__).parent / "steps"
STEPS_PAGE = Path(understudy.__file__).parents[1] / "README.md"
STEPS_INTRO = """# The steps

<!-- generated: `make docs` -->

In the order in which they run. Each is a KFP component of its own: `understudy compile --out DIR` writes it to
`DIR/components/<step>.yaml`, and to `DIR/steps/<step>.yaml` a pipeline of that step alone, which imports its input
artifacts from the addresses that it is given (`<input>_uri`). A step here is the command `understudy <step>`. What is
listed as inputs and outputs are artifacts; a step's page says its parameters and settings.
"""
ROOMS_PAGE = Path(understudy.__file__).parents[2] / "docs" / "rooms.md"
ROOMS_INTRO = """# Where everything is

<!-- generated: `make docs` -->

One line a file, from its own first line; pages for people are templates in `reports/templates/`. Rooms stand from
the top floor down: an import may only go down (decisions/0013-rooms-and-arrows.md). CONTRIBUTING.md says where new code
goes.
"""
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
STORE_PAGE = Path(understudy.__file__).parents[2] / "docs/store.md"
STORE_INTRO = """# The store's keys

<!-- generated: `make docs` -->

Everything that outlives a run lies in one store, a folder or `s3://bucket/prefix`. Each kind of key is defined once, in
`components/understudy/store/layout.py`, with the room whose code writes it, the setting of the card's `retention` that
removes it, and how a text leaves it when `understudy forget` names it.
"""
BEGIN, END = "<!-- generated: `make docs` -->", "<!-- end of generated -->"


def generated_part(step: str) -> str:
    """Return the generated part of a step's README, between its two marks."""
    run = shell.load_run(step)
    shape = shell.signature(step)
    described = docstrings.arguments(run)
    rows = [f"| `{name}` | input | {described.get(name, '')} |" for name in shape.inputs]
    rows += [f"| `{name}` | output | {described.get(name, '')} |" for name in shape.outputs]
    rows += [f"| `{name}` | parameter | {described.get(name, '')} |" for name in shape.parameters]
    table = "\n".join(["| argument | kind | what |", "|---|---|---|", *rows])
    return f"{BEGIN}\n\n{docstrings.intro(run)}\n\n{table}\n\n{_settings_table(step)}\n\n{END}"


def refreshed(step: str, readme: str) -> str:
    """Return a step's README with its generated part brought up to date."""
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    return before + generated_part(step) + (after or "\n")


def _settings_table(step: str) -> str:
    own, others = docstrings.settings(step)
    if not own and not others:
        return "No settings."
    told = [f"Settings, in the card's section `{step}` or by `--set`:", "", *_table(own)]
    if others:
        told += ["", "Read too, in the sections that they name, or by `--set` with the section:", "", *_table(others)]
    return "\n".join(told)


def _table(rows: list[docstrings.Setting]) -> list[str]:
    lines = [f"| `{it.name}` | {it.type} | `{it.default}` | {it.text} |" for it in rows]
    return ["| setting | type | default | what |", "|---|---|---|---|", *lines]


def steps_page() -> str:
    """Return components/README.md: every step with its image, what it reads and writes, and what it is for."""
    rows = [step_row(name, step.image) for name, step in STEPS.items()]
    return "\n".join([STEPS_INTRO, "| step | image | inputs | outputs | what |", "|---|---|---|---|---|", *rows, ""])


def step_row(name: str, image: str) -> str:
    """Return a step's row: the artifacts that it reads and writes by name, or a dash."""
    shape = shell.signature(name)
    inputs, outputs = (", ".join(f"`{it}`" for it in names) or "-" for names in (shape.inputs, shape.outputs))
    link = f"[{name}](understudy/steps/{name}/README.md)"
    return f"| {link} | {image} | {inputs} | {outputs} | {docstrings.first_line(shell.load_run(name))} |"


def rooms_page() -> str:
    """Return docs/rooms.md: every room from the top floor down, and every file with its first line."""
    package = Path(understudy.__file__).parent
    rooms = [
        line for room in rooms_of(PROJECT) if (package / room).is_dir() for line in room_lines(package / room, package)
    ]
    hall = [file_line(package / name, package) for name in ("errors.py", "progress.py")]
    tools = room_lines(Path(__file__).parent, Path(__file__).parents[1])
    return "\n".join([ROOMS_INTRO, *tools, *rooms, "## The hall", "", *hall, ""])


def rooms_of(project: Path) -> list[str]:
    """Read the rooms from the top floor down, as import-linter holds them."""
    (floors,) = (it for it in tomllib.loads(project.read_text())["tool"]["importlinter"]["contracts"] if "layers" in it)
    return re.findall(r"understudy\.(\w+)", " ".join(floors["layers"]))


def room_lines(room: Path, root: Path) -> Iterator[str]:
    """Yield a room's lines: what it is for, and its files; a step's component.py and settings go without saying."""
    yield from (f"## {room.name}/", "", first_line_of(room / "__init__.py"), "")
    files = [file for file in sorted(room.rglob("*.py")) if not file.is_relative_to(room / "tasks")]
    untold = {room / "__init__.py", *room.glob("*/component.py"), *room.glob("*/config.py")}
    yield from (file_line(file, root) for file in files if file not in untold)
    yield ""


def file_line(file: Path, root: Path) -> str:
    """Return a file's line; a package's is that of its `__init__.py`."""
    place = file.parent if file.name == "__init__.py" else file
    return f"- `{place.relative_to(root).as_posix()}`: {first_line_of(file)}"


def first_line_of(file: Path) -> str:
    """Read the first line of a module's docstring without importing it."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def store_page() -> str:
    """Return docs/store.md: every family of keys in the store, and what becomes of it."""
    head = ["| key | what | written by | retention | a text that is forgotten |", "|---|---|---|---|---|"]
    return "\n".join([STORE_INTRO, *head, *map(family_row, FAMILIES), ""])


def family_row(family: Family) -> str:
    """Return a family's row."""
    retention, erasure = family.retention, family.erasure
    stays = f"stays: {retention.why}" if isinstance(retention, Stays) else f"`{retention}`"
    leaves = f"stays: {erasure.why}" if isinstance(erasure, Stays) else erasure.value
    key = re.sub(r":\d+d", "", family.pattern)
    return f"| `{key}` | {family.what} | {family.owner} | {stays} | {leaves} |"


def main() -> None:
    """Bring the lists of rooms, steps and keys, the README of every step, and our figures' pages up to date."""
    seeds.write_pages()
    STORE_PAGE.write_text(store_page(), encoding="utf-8")
    STEPS_PAGE.write_text(steps_page(), encoding="utf-8")
    ROOMS_PAGE.write_text(rooms_page(), encoding="utf-8")
    for step in STEPS:
        path = STEPS_DIR / step / "README.md"
        path.write_text(refreshed(step, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
