"""Show what went into a published version, and who vouches for it: `understudy trace`."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from understudy.store import codecs, registry
from understudy.store.storage import open_store
from understudy.text.numbers import clipped

LONGEST = 500  # signs of a value: whoever can write the store chooses it


@click.command("trace")
@click.option("--store", required=True, help="Folder or s3://bucket/prefix that holds the registry.")
@click.option("--version", "version", help="The version. [default: the one that serves]")
@click.option("--json", "is_json", is_flag=True, help="Print the record as it lies in the store.")
def command(store: str, version: str | None, is_json: bool) -> None:
    """Show what went into a published version: data, code, base weights, teacher, licences; and who vouches for it."""
    opened = open_store(store)
    wanted = version or registry.require_current(opened).version
    published = registry.read_version(opened, wanted)
    paper = f"{published.papers}/{registry.ORIGIN}"
    if paper not in published.files:
        click.echo(f"{wanted}: {registry.signature_state(opened, wanted)}\nIt was published before origins were kept.")
        return
    origin = registry.read_paper(opened, published, paper, registry.Origin)
    if is_json:
        click.echo(codecs.as_json(origin).decode())
        return
    for line in lines(origin, registry.signature_state(opened, wanted)):
        click.echo(line)


def lines(origin: Mapping[str, Any], signature: str) -> Iterator[str]:
    """Write an origin for people, a line a thing; hashes are whole, to be compared.

    >>> student = {"name": "minilm", "weights": "a/b", "sha256": None, "licence": "MIT"}
    >>> teacher = {"model": "m", "is_rehearsal": False}
    >>> card, data, code = {"name": "c", "sha256": "0" * 64}, {"gold": "1" * 64}, {"publish": "0.1.0"}
    >>> made = {"version": "c-1", "card": card, "code": code, "data": data, "student": student, "teacher": teacher}
    >>> for line in list(lines({**made, "files": {}}, "not signed"))[:4]:
    ...     print(line[:40])
    version           c-1: not signed
    card              c, 0000000000000000000
    code              publish 0.1.0
    data gold         1111111111111111111111
    """
    student, teacher = origin["student"], origin["teacher"]
    rows = [("version", f"{origin['version']}: {signature}")]
    rows += [("card", f"{origin['card']['name']}, {origin['card']['sha256']}")]
    rows += [("code", ", ".join(f"{step} {release}" for step, release in sorted(origin["code"].items())))]
    rows += [(f"data {name}", digest) for name, digest in origin["data"].items()]
    rows += [("student", f"{student['name']}, from {student['weights']}, {student['sha256'] or 'hash not kept'}")]
    rows += [("licence", f"of the weights: {student['licence'] or 'not known here'}")]
    rows += [("teacher", f"{teacher['model']}{', a rehearsal' if teacher['is_rehearsal'] else ''}")]
    rows += [(f"file {name}", digest) for name, digest in origin["files"].items()]
    return (
        f"{clipped(name):<17} {clipped(str(value), LONGEST)}" for name, value in rows
    )  # whoever wrote the store chose them
