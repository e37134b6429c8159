"""Build the images, push them to their registry or save them as archives, and write down what came out.

python -m tools.images --base IMAGE [--role ROLE]... [--push | --save DIR]

It takes docker, podman or buildah, whichever is there. build/images.json then says for each role what a pod shall name;
`make manifests IMAGES=build/images.json` puts that into the manifests.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from understudy.errors import BadInput, UnderstudyError
from understudy.runners.terminal import tell
from understudy.runtime.images import Image, read_images
from understudy.store import codecs

ROOT = Path(__file__).parents[1]
RECORD_FILE = ROOT / "build" / "images.json"
TRAIN = "train"
BUILDERS = ("docker", "podman", "buildah")
Command = list[str]


@dataclass(frozen=True, slots=True)
class Built:
    """What a build left.

    Attributes:
        name: registry and repository.
        tag: the release.
        digest: "sha256:..." of the image in the registry; None when it was not pushed, for only a registry gives one.
        reference: what a pod shall name: by digest where there is one, else by tag.
    """

    name: str
    tag: str
    digest: str | None
    reference: str


def built(image: Image, digest: str | None) -> Built:
    """Describe an image that was built, and pushed when there is a digest."""
    return Built(image.name, image.tag, digest, f"{image.name}@{digest}" if digest else image.reference)


def full_name(reference: str) -> str:
    """Spell out the registry that a name without a host means to docker and to Kubernetes.

    >>> full_name("understudy/infer:1"), full_name("registry.example.com/infer:1"), full_name("localhost:5000/infer:1")
    ('docker.io/understudy/infer:1', 'registry.example.com/infer:1', 'localhost:5000/infer:1')
    """
    host, _, rest = reference.partition("/")
    return reference if rest and ("." in host or ":" in host or host == "localhost") else f"docker.io/{reference}"


def build_command(builder: str, image: Image, arguments: Mapping[str, str], flags: Sequence[str]) -> Command:
    """Return the command that builds an image from the repository."""
    given = {"ROLE": image.role, "SITE_PACKAGES_MB": str(image.site_packages_mb), "VERSION": image.tag, **arguments}
    verb = ["bud", "--layers"] if builder == "buildah" else ["build"]
    pairs = [word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")]
    file = ["--file", str(ROOT / "images" / "Dockerfile")]
    return [builder, *verb, *pairs, *flags, "--tag", full_name(image.reference), *file, str(ROOT)]


def save_command(builder: str, image: Image, file: Path) -> Command:
    """Return the command that saves a built image as an archive that docker and containerd load."""
    name = full_name(image.reference)
    if builder == "buildah":
        return [builder, "push", name, f"docker-archive:{file}:{name}"]
    form = ["--format", "docker-archive"] if builder == "podman" else []
    return [builder, "save", *form, "--output", str(file), name]


def find_builder(wanted: str | None) -> str:
    """Return the builder that was asked for, else the first of docker, podman and buildah that is installed and works.

    Raises:
        BadInput: there is none.
    """
    for builder in [wanted] if wanted else BUILDERS:
        if shutil.which(builder) and not subprocess.run([builder, "info"], capture_output=True, check=False).returncode:
            return builder
    raise BadInput(
        f"A builder must be installed and answer to `info`: {wanted or ', '.join(BUILDERS)}; got none. "
        "Install one, or start its daemon."
    )


def revision() -> str:
    """Return the commit that is built, with "-dirty" when files differ from it; "unknown" outside a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if not answer.returncode else "unknown"


def push(builder: str, image: Image) -> str:
    """Push a built image to its registry, and return the digest that it has there."""
    name = full_name(image.reference)
    if builder == "docker":
        run([builder, "push", name])
        form = "{{range .RepoDigests}}{{println .}}{{end}}"
        shown = run([builder, "image", "inspect", "--format", form, name], capture=True)
        return next(
            line.rpartition("@")[2] for line in shown.split() if full_name(line).startswith(f"{full_name(image.name)}@")
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digest"
        run([builder, "push", "--digestfile", str(file), name])
        return file.read_text(encoding="utf-8").strip()


def save(builder: str, image: Image, folder: Path) -> Path:
    """Save a built image as <folder>/<role>.tar."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{image.role}.tar"
    file.unlink(missing_ok=True)
    run(save_command(builder, image, file))
    return file


def run(command: Command, *, capture: bool = False) -> str:
    """Run a builder's command, let it print, and return what it said when asked to.

    Raises:
        UnderstudyError: it failed.
    """
    tell(f"+ {shlex.join(command)}")
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}  # docker's older builder knows no cache mounts
    pipe = subprocess.PIPE if capture else None
    answer = subprocess.run(command, stdout=pipe, text=True, check=False, env=environment)
    if answer.returncode:
        raise UnderstudyError(
            f"`{shlex.join(command[:2])}` must succeed, got exit code {answer.returncode}. Its own words are above."
        )
    return answer.stdout or ""


def write_record(made: Mapping[str, Built], file: Path) -> None:
    """Put what was built into the record, beside the roles that were built before."""
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    record = {**before, **{role: asdict(image) for role, image in made.items()}}
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".tmp")
    beside.write_bytes(codecs.as_json(record))
    beside.replace(file)


@click.command()
@click.option("--base", required=True, help="Image to build on: Linux on x86-64 with a shell and Python 3.11.")
@click.option("--role", "roles", multiple=True, type=click.Choice(list(read_images())), help="Repeatable; else all.")
@click.option("--builder", type=click.Choice(BUILDERS), help="Else the first of these that works.")
@click.option("--push", "is_pushed", is_flag=True, help="Push to the registry that images.yaml names.")
@click.option("--save", "folder", type=click.Path(path_type=Path, file_okay=False), help="Save DIR/<role>.tar.")
@click.option("--source", default="", help="Address of the source code, for the image's label.")
@click.option(
    "--weights", "has_weights", is_flag=True, help="Put the weights of the student minilm into train's image."
)
@click.option("--flags", default="", help="Further flags for the builder's `build`, as one string.")
@click.option(
    "--record", type=click.Path(path_type=Path, dir_okay=False), default=RECORD_FILE, help="Else build/images.json."
)
def main(
    base: str,
    roles: tuple[str, ...],
    builder: str | None,
    is_pushed: bool,
    folder: Path | None,
    has_weights: bool,
    source: str,
    flags: str,
    record: Path,
) -> None:
    """Build the images and write down what came out."""
    try:
        if not base:
            raise BadInput("BASE must name an image, got none. Give one: make images BASE=python:3.11-slim.")
        found = find_builder(builder)
        arguments = {"BASE": base, "REVISION": revision(), "SOURCE": source}
        named = read_images()
        for role in roles or named:
            image = named[role]
            weights = {"WEIGHTS": "1"} if has_weights and role == TRAIN else {}
            run(build_command(found, image, {**arguments, **weights}, shlex.split(flags)))
            digest = push(found, image) if is_pushed else None
            if folder:
                save(found, image, folder)
            write_record({role: built(image, digest)}, record)
    except UnderstudyError as error:
        tell(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
