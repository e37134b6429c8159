"""Write what Kubernetes is given of the pipelines: Pipeline and PipelineVersion objects, and the images' names.

python -m tools.manifests [--images build/images.json | --unpin] [--check]

A PipelineVersion never changes: its name carries a digest of what it says. CronJobs are told the names by a ConfigMap
that is written beside them. Nothing else in manifests/ names an image.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import TypeAdapter, ValidationError

from tools.policies import policies
from understudy.errors import BadInput, UnderstudyError
from understudy.pipelines.compile import PIPELINES, build, compiled, load_pipeline, version_of
from understudy.pipelines.pins import IMAGES, PINS, ROOT, Pins, recorded_pins, require_digests
from understudy.pipelines.resources import Accelerator
from understudy.pipelines.training import training_on
from understudy.runners.terminal import tell
from understudy.runtime.images import IMAGES_FILE, read_images
from understudy.store import codecs

BASE, GPU = "base/generated", "components/gpu/generated"
POLICIES, SHIPPED_FOR = "policies", ("s3://understudy/production", ["s3://understudy-texts"])  # as overlays/production
ACCELERATOR = "components/gpu/accelerator.yaml"
NOTE = "# Written by `make manifests` from pipelines/ and components/understudy/runtime/images.yaml: change those.\n"
SUBMIT = "submit"
API = {"apiVersion": "pipelines.kubeflow.org/v2beta1"}
KUSTOMIZE = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}

Files = dict[str, str]


def generate(pins: Pins, accelerator: Accelerator) -> Files:
    """Return every generated file under manifests/ by its path.

    Args:
        pins: digests of images by role; a role without one goes by its tag.
        accelerator: what the GPU component lets train run on.
    """
    versions = {name: documents_of(load_pipeline(name), pins) for name in PIPELINES}
    on_gpu = documents_of(build(training_on(accelerator)), pins)
    files = {f"{BASE}/{name}.yaml": dumped(*documents) for name, documents in versions.items()}
    files[f"{BASE}/kustomization.yaml"] = dumped(base_component(versions))
    files[f"{IMAGES}/kustomization.yaml"] = dumped(images_component(pins))
    files[f"{GPU}/training.yaml"] = dumped(on_gpu[1])
    files[f"{GPU}/kustomization.yaml"] = dumped(gpu_component(versions["training"], on_gpu))
    files |= {f"{POLICIES}/{name}": content for name, content in policies(*SHIPPED_FOR).items()}
    if pins:
        files[PINS] = codecs.as_json(pins).decode()
    return files


def documents_of(pipeline: Any, pins: Pins) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the Pipeline and the PipelineVersion, as KFP's compiler writes them but for pinned images and the name."""
    said = compiled(pipeline, pins)
    name, described = version_of(pipeline.name, said), {"description": pipeline.description}
    version = {"displayName": name, "pipelineName": pipeline.name, **described, **said}
    return (
        {
            **API,
            "kind": "Pipeline",
            "metadata": {"name": pipeline.name},
            "spec": {"displayName": pipeline.name, **described},
        },
        {**API, "kind": "PipelineVersion", "metadata": {"name": name}, "spec": version},
    )


def base_component(versions: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Return the kustomization that gives the base its pipelines and the names of their versions."""
    return {
        **KUSTOMIZE,
        "resources": [f"{name}.yaml" for name in versions],
        "configMapGenerator": [{"name": "understudy-versions", "literals": [*literals(versions)]}],
    }


def images_component(pins: Pins) -> dict[str, Any]:
    """Return the kustomization that puts an image in the place of the word "submit"."""
    image = read_images()[SUBMIT]
    place = {"digest": pins[SUBMIT]} if SUBMIT in pins else {"newTag": image.tag}
    return {**KUSTOMIZE, "images": [{"name": SUBMIT, "newName": image.name, **place}]}


def literals(versions: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    """Write which version of each pipeline the CronJobs run."""
    return (f"{name.upper()}_VERSION={version['metadata']['name']}" for name, (_, version) in versions.items())


def gpu_component(on_cpu: tuple[Any, Any], on_gpu: tuple[Any, Any]) -> dict[str, Any]:
    """Return the kustomization that puts the version of training for GPUs in the place of that for CPUs."""
    gone = {"$patch": "delete", **API, "kind": "PipelineVersion", "metadata": on_cpu[1]["metadata"]}
    return {
        **KUSTOMIZE,
        "resources": ["training.yaml"],
        "configMapGenerator": [
            {"name": "understudy-versions", "behavior": "merge", "literals": [*literals({"training": on_gpu})]}
        ],
        "patches": [{"patch": yaml.safe_dump(gone)}],
    }


def dumped(*documents: Mapping[str, Any]) -> str:
    """Write documents as YAML, the same bytes for the same content."""
    return NOTE + yaml.safe_dump_all(documents, sort_keys=True, width=120, allow_unicode=True)


def read_pins(file: Path) -> dict[str, str]:
    """Read the digests of a build, by role; an image that was not pushed has none.

    Raises:
        BadInput: it is no record of a build, or one of other images than images.yaml names.
    """
    try:
        built = json.loads(file.read_text(encoding="utf-8"))
        found = {role: (f"{image['name']}:{image['tag']}", image["digest"]) for role, image in built.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"The record of a build must be what `make images` writes, got {error!r} ({file}, --images). Build again."
        ) from error
    named = {role: image.reference for role, image in read_images().items()}
    if other := [tagged for role, (tagged, _) in found.items() if tagged != named.get(role)]:
        raise BadInput(
            f"The record of a build must be of the images in {IMAGES_FILE.name}, got {other[0]} ({file}, --images). "
            "Build again."
        )
    return require_digests({role: digest for role, (_, digest) in found.items() if digest}, file)


def read_accelerator(root: Path) -> Accelerator:
    """Read what the GPU component lets train run on.

    Raises:
        BadInput: the file is missing, or says what it cannot.
    """
    file = root / ACCELERATOR
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
        return TypeAdapter(Accelerator).validate_python(asdict(Accelerator(**said)))
    except (OSError, TypeError, yaml.YAMLError, ValidationError) as error:
        raise BadInput(
            f"The accelerator must be type, count, node_selector and tolerations, got {error} ({file}). Mend it."
        ) from error


def write(root: Path, files: Files) -> None:
    """Write the generated files, and remove those of before that are no longer generated."""
    for path in stale_paths(root, files):
        path.unlink()
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def stale_paths(root: Path, files: Files) -> list[Path]:
    """Find what lies in the generated folders and is not generated."""
    there = (path for folder in (BASE, GPU, IMAGES, POLICIES) for path in (root / folder).glob("*"))
    return sorted(path for path in there if str(path.relative_to(root)) not in files)


def require_current(root: Path, files: Files) -> None:
    """Check that the generated files say what the source says.

    Raises:
        BadInput: some do not, each named.
    """
    differs = [name for name, content in files.items() if not _says(root / name, content)]
    wrong = [*differs, *(str(path.relative_to(root)) for path in stale_paths(root, files))]
    if wrong:
        raise BadInput(
            f"Generated manifests must say what their source says, got others: {', '.join(wrong)} ({root}). "
            "Run `make manifests`, and commit what it writes."
        )


def _says(path: Path, content: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == content


@click.command()
@click.option(
    "--images",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Pin the digests that `make images` wrote. [default: those that are pinned already]",
)
@click.option("--unpin", is_flag=True, help="Let images go by their tags again.")
@click.option("--check", is_flag=True, help="Write nothing; exit 2 when a file is not what its source says.")
def main(images: Path | None, unpin: bool, check: bool) -> None:
    """Write the generated part of manifests/."""
    if images and unpin:
        raise click.UsageError("--images pins and --unpin does the opposite: give one.")
    try:
        pins = read_pins(images) if images else {} if unpin else recorded_pins(ROOT)
        files = generate(pins, read_accelerator(ROOT))
        (require_current if check else write)(ROOT, files)
    except UnderstudyError as error:
        tell(str(error))
        sys.exit(error.exit_code)
    if check:
        return
    for name in sorted(files):
        click.echo(ROOT / name)
    if pins and not images:
        tell(f"Kept the pinned digests of {', '.join(sorted(pins))}: --images pins those of a new build, --unpin none.")


if __name__ == "__main__":
    main()
