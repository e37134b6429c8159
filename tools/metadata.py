"""Write what a catalogue of KFP components is told of each step, in the form of kubeflow/pipelines-components.

python -m tools.metadata [--check]

One `metadata.yaml` a step, beside its component.py; who owns a component is for the catalogue that takes it. `--check`
holds them to the catalogue's published rules, of which one has to do with the clock: a component
is looked at once a year.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml

import understudy
from understudy.errors import BadInput, UnderstudyError
from understudy.runners.terminal import tell
from understudy.task.steps import STEPS

FILE = "metadata.yaml"
STEPS_FOLDER = Path(understudy.__file__).parent / "steps"
VERIFIED = datetime(2026, 12, 1, tzinfo=UTC)  # when all steps last ran as components of a real backend
STABILITY = "beta"
PIPELINES = {"name": "Pipelines", "version": ">=2.17.0"}
TEACHER = ({"name": "OpenAI-compatible chat API", "version": ">=1.0.0"},)
SERVICES: Mapping[str, tuple[dict[str, str], ...]] = {
    **dict.fromkeys(("label", "revise", "mine", "sample"), TEACHER),
    "index": ({"name": "Elasticsearch", "version": ">=9.0.0"},),
}
TAGS = ("text-classification", "distillation")

# The catalogue's rules: scripts/validate_metadata/ (metadata_schema.json and validate_metadata.py).
REQUIRED = ("name", "stability", "dependencies", "lastVerified")
OPTIONAL = {"tags", "ci", "links", "managed", "description"}
STABILITIES = {"alpha", "beta", "stable"}
SEMVER = re.compile(r"(==|>=|<=|~=)?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
MOST_DAYS = 364


def metadata_of(step: str) -> dict[str, Any]:
    """Return what the catalogue is told of a step, its keys in the catalogue's order."""
    services = {"external_services": [*SERVICES[step]]} if step in SERVICES else {}
    return {
        "name": step,
        "stability": STABILITY,
        "dependencies": {"kubeflow": [PIPELINES], **services},
        "tags": [*TAGS, STEPS[step].image],
        "lastVerified": VERIFIED,
    }


def written(step: str) -> str:
    """Write a step's metadata as YAML, the same bytes for the same content."""
    said = {**metadata_of(step), "lastVerified": "VERIFIED"}
    text = yaml.safe_dump(said, sort_keys=False, width=120)
    return f"---\n{text.replace('VERIFIED', VERIFIED.strftime('%Y-%m-%dT%H:%M:%SZ'))}"


def faults_of(said: Any, folder: str, today: datetime) -> Iterator[str]:
    """Hold a metadata.yaml to the catalogue's rules.

    Args:
        said: its content.
        folder: name of the component's folder.
        today: a component must have been looked at within a year of it.
    """
    if not isinstance(said, Mapping):
        yield "must be a mapping"
        return
    if tuple(key for key in said if key not in OPTIONAL) != REQUIRED:
        yield f"must have {', '.join(REQUIRED)} in this order, and besides only {', '.join(sorted(OPTIONAL))}"
        return
    if said["name"] != folder:
        yield f"must be named like its folder, {folder}"
    if said["stability"] not in STABILITIES:
        yield f"must have a stability of {', '.join(sorted(STABILITIES))}"
    if not all(isinstance(tag, str) for tag in said.get("tags", [])):
        yield "must have tags that are text"
    verified = said["lastVerified"]
    if not isinstance(verified, datetime) or abs((today - verified).days) > MOST_DAYS:
        yield "must have a time as lastVerified, of less than a year ago: look at the component again"
    yield from dependency_faults(said["dependencies"])


def dependency_faults(said: Any) -> Iterator[str]:
    """Hold the dependencies of a component to the catalogue's rules."""
    if not isinstance(said, Mapping) or not {"kubeflow"} <= set(said) <= {"kubeflow", "external_services"}:
        yield "must have the dependencies kubeflow, and besides only external_services"
        return
    listed = [one for part in said.values() for one in part]
    if not any(one.get("name") == "Pipelines" for one in said["kubeflow"]):
        yield "must depend on Kubeflow's Pipelines"
    if any("name" not in one or not SEMVER.fullmatch(str(one.get("version"))) for one in listed):
        yield "must name each dependency, with a semantic version"


def require_sound(folder: Path, today: datetime) -> None:
    """Check that every step's metadata is there, says what the registry says, and keeps the catalogue's rules.

    Raises:
        BadInput: with one sentence a fault.
    """
    faults = []
    for step in STEPS:
        file = folder / step / FILE
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if text != written(step):
            faults.append(f"A step's metadata must say what its registry says, got another ({file}). Run `make docs`.")
        else:
            found = faults_of(yaml.safe_load(text), step, today)
            faults += [f"A step's metadata {fault} ({file}, tools/metadata.py)." for fault in found]
    if faults:
        raise BadInput(faults)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 2 when a file is not what it must be.")
def main(check: bool) -> None:
    """Write the metadata.yaml of every step."""
    if not check:
        for step in STEPS:
            (STEPS_FOLDER / step / FILE).write_text(written(step), encoding="utf-8")
        return
    try:
        require_sound(STEPS_FOLDER, datetime.now(UTC))
    except UnderstudyError as error:
        tell(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
