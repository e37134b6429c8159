"""Run a step from any shell (command line, KFP component, direct runner): resolve, run, and write provenance.

A step's `run` declares its inputs as `In`, its outputs as `Out`; everything else is a parameter. Outputs are written
beside their place and renamed when the step has ended, so a folder that exists is whole.
"""

import importlib
import inspect
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from understudy.errors import BadArtifact, BadInput, HopelessTeacher, UnderstudyError
from understudy.runtime import provenance
from understudy.secrets.keys import redact, redact_values
from understudy.secrets.sinks import guard_streams
from understudy.store.address import parse_address
from understudy.store.faults import FULL, explain_os
from understudy.store.leftovers import held_folder
from understudy.store.runs import as_bytes
from understudy.store.storage import split_uri
from understudy.task.settings import Overrides

Value = str | int | float | bool
In = Annotated[Path, "input"]
Out = Annotated[Path, "output"]
ERROR_FILE = "error.json"
BESIDE = ".~understudy-"  # what an unfinished output's folder is called
STORAGE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
OWN_KEY = "STEP_"  # before the name of a key that this step alone was given


@dataclass(frozen=True, slots=True)
class Result:
    """What a step measured and decided.

    Attributes:
        headline: the one thing to show on the step's line, a few words.
        metrics: finite numbers by name.
        parameters: what later steps branch on.
    """

    headline: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signature:
    """A step's `run`, read from its annotations: names of inputs, of outputs, and parameters with their defaults."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, inspect.Parameter]


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a step: where it reads and writes, and every parameter, defaults included, as its caller writes it."""

    step: str
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    parameters: Mapping[str, Any]


def signature(step: str) -> Signature:
    """Read the signature of a step's `run`."""
    run = load_run(step)
    hints = get_type_hints(run, include_extras=True)
    hints.pop("return", None)
    kinds = {name: _kind(hint) for name, hint in hints.items()}
    parameters = inspect.signature(run).parameters
    return Signature(
        inputs=tuple(name for name, kind in kinds.items() if kind == "input"),
        outputs=tuple(name for name, kind in kinds.items() if kind == "output"),
        parameters={name: parameters[name] for name, kind in kinds.items() if kind not in {"input", "output"}},
    )


def _kind(hint: Any) -> str | None:
    """Return "input" or "output" for `In`, `In | None` and `Out`; None for a parameter."""
    marks = [mark for part in (hint, *get_args(hint)) for mark in getattr(part, "__metadata__", ())]
    return next((mark for mark in marks if mark in {"input", "output"}), None)


def load_run(step: str) -> Any:
    """Import `understudy.steps.<step>.step.run`.

    Raises:
        BadArtifact: the name, which may come from a provenance, is no plain word.
    """
    if not step.isidentifier():
        raise BadArtifact(f"A step must be named by one plain word, got {step[:80]!r}. Restore the artifact.")
    return importlib.import_module(f"understudy.steps.{step}.step").run


def execute(step: str, arguments: Mapping[str, Any], uris: Mapping[str, str] | None = None) -> Result:
    """Run a step on paths; nothing of its outputs stands until all of them are whole.

    Args:
        step: name of the step.
        arguments: paths of inputs and outputs, and parameters; what the step does not know is ignored.
        uris: lasting addresses of the inputs and outputs, where they differ from the paths.

    Raises:
        BadInput: an input is missing, or an output would replace what is no artifact.
    """
    call = call_of(step, arguments)
    _require_places(call)
    opened = provenance.opening(step, call.inputs, call.parameters)
    started = time.time()
    with _beside(call.outputs) as beside:
        with _room_told(step):
            result = _without_secrets(load_run(step)(**call.inputs, **beside, **_parsed(call)))
        places = {**call.inputs, **beside}
        record = provenance.closing(opened, places, _addresses(call, uris or {}), asdict(result), started)
        _put_in_place(call, beside, record, uris or {})
    return result


def _parsed(call: Call) -> dict[str, Any]:
    """Return a step's parameters as its `run` takes them: what a run changes as a value, not as text."""
    shape = signature(call.step).parameters
    return {
        name: Overrides.parse(value, call.step) if shape[name].annotation is Overrides else value
        for name, value in call.parameters.items()
    }


@contextmanager
def _room_told(step: str) -> Iterator[None]:
    """Tell a disk without room in a sentence, wherever in a step it was met."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = f"{step}, {error.filename}" if error.filename else step
        raise explain_os(error, "The disk must have room", where, "") from error


def _without_secrets(result: Result) -> Result:
    """Hide keys in what a step hands on: a server's words may be in it, and it goes into records and other pods."""
    return replace(result, headline=redact(result.headline), parameters=redact_values(result.parameters))


def is_done(step: str, arguments: Mapping[str, Any]) -> bool:
    """Tell whether a step's outputs all stand, made by one run from the inputs, arguments and version of now."""
    call = call_of(step, arguments)
    try:
        records = [provenance.read(path) for path in call.outputs.values() if path.exists()]
    except BadArtifact:
        return False
    if len(records) < len(call.outputs) or not all(path.exists() for path in call.inputs.values()):
        return False
    now = provenance.opening(step, call.inputs, call.parameters)
    return all(provenance.starts_alike(record, now) for record in records)


def call_of(step: str, arguments: Mapping[str, Any]) -> Call:
    """Sort arguments by what they are for the step; parameters that are not given get their defaults."""
    shape = signature(step)
    defaults = {
        name: "" if it.annotation is Overrides else it.default
        for name, it in shape.parameters.items()
        if it.default is not inspect.Parameter.empty
    }
    given = {name: arguments[name] for name in shape.parameters if name in arguments}
    return Call(
        step,
        inputs={name: _path(step, name, arguments[name]) for name in shape.inputs if arguments.get(name)},
        outputs={name: _path(step, name, arguments[name]) for name in shape.outputs},
        parameters={**defaults, **given},
    )


def _path(step: str, name: str, given: Any) -> Path:
    """Return a path once it is one that the system takes."""
    path = parse_address(str(given), f"{step} {_flag(name)}").path
    if path is None:
        raise BadInput(f"A path must be on this machine, got '{given}' ({step} {_flag(name)}). Write a path.")
    return path


def _require_places(call: Call) -> None:
    """Refuse a run whose places cannot serve, all faults at once, before anything is computed or replaced."""
    faults = [
        f"An input must exist, got nothing at {path} ({call.step} {_flag(name)})."
        for name, path in call.inputs.items()
        if not path.exists()
    ]
    taken = [path.resolve() for path in (*call.inputs.values(), *call.outputs.values())]
    for name, path in call.outputs.items():
        if taken.count(path.resolve()) > 1:
            faults.append(f"An output must have a place of its own, got {path} twice ({call.step} {_flag(name)}).")
        elif not _is_free(path):
            faults.append(
                f"An output must be a new path or replace an earlier artifact, got {path}, which holds something else "
                f"({call.step} {_flag(name)}). Choose another path."
            )
    if faults:
        raise BadInput(faults)


def _is_free(path: Path) -> bool:
    """Tell whether an output may take this place: nobody's own files are ever replaced."""
    return not path.exists() or provenance.file_of(path).is_file() or (path.is_dir() and not any(path.iterdir()))


@contextmanager
def _beside(outputs: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Give each output a path of its name in a temporary folder beside its place, which goes with this process."""
    with ExitStack() as stack:
        folders = {}
        for parent in dict.fromkeys(path.parent for path in outputs.values()):
            with _writing(parent):
                parent.mkdir(parents=True, exist_ok=True)
            folders[parent] = stack.enter_context(held_folder(parent, BESIDE))
        yield {name: folders[path.parent] / path.name for name, path in outputs.items()}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "Check the path, its rights and the space that is left."
        raise explain_os(error, "The place of an output must be writable", str(path), remedy) from error


def _put_in_place(call: Call, beside: Mapping[str, Path], record: Mapping[str, Any], uris: Mapping[str, str]) -> None:
    """Rename the outputs; a kill in between leaves some of them missing, never an old one beside a new one."""
    missing = [name for name, path in beside.items() if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"A step must write all of its outputs, got none of {', '.join(missing)} ({call.step})."
        )
    for name, path in call.outputs.items():
        about = {**record, "output": name, "uri": uris.get(name, str(path.resolve()))}
        with _writing(path):
            provenance.write(beside[name], about)
    for path in call.outputs.values():
        with _writing(path):
            _remove(path)
    for name, path in call.outputs.items():
        with _writing(path):
            if not beside[name].is_dir():
                provenance.file_of(beside[name]).replace(provenance.file_of(path))
            beside[name].replace(path)


def _remove(path: Path) -> None:
    """Remove a folder or file with its provenance, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        provenance.file_of(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _addresses(call: Call, uris: Mapping[str, str]) -> dict[str, str]:
    return {name: uris.get(name, str(path.resolve())) for name, path in call.inputs.items()}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def execute_component(step: str, arguments: Mapping[str, Any]) -> Result:
    """Run a step inside a KFP component: `arguments` are the component's own, artifacts as KFP hands them over.

    Metrics go to the artifact named `metrics`. When the step fails, `error.json` beside its outputs says why; a fault
    that only a person can mend is put at the address `fault` too, where there is one. The store is opened with the
    step's own key where it has one.
    """
    guard_streams()
    artifacts = {name: value for name, value in arguments.items() if hasattr(value, "path")}
    metrics = artifacts.pop("metrics", None)
    plain = {name: value for name, value in arguments.items() if name != "metrics"}
    paths = {name: artifact.path for name, artifact in artifacts.items()}
    uris = {name: artifact.uri for name, artifact in artifacts.items() if "://" in artifact.uri}
    os.environ.update({key: own for key in STORAGE_KEYS if (own := os.environ.get(f"{OWN_KEY}{key}"))})
    with _failure_told(step, paths, str(arguments.get("fault", ""))):
        result = execute(step, {**plain, **paths}, uris)
    for name, value in result.metrics.items():
        if metrics is not None:
            metrics.log_metric(name, float(value))
    print(f"{step}: {result.headline}", flush=True)  # noqa: T201 - the line a pod's log shows
    return result


@contextmanager
def _failure_told(step: str, paths: Mapping[str, Any], fault: str) -> Iterator[None]:
    """Write an exception beside the outputs, where a runner that started this process finds it, and into the store."""
    file = next(Path(paths[name]).parent for name in signature(step).outputs) / ERROR_FILE
    file.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(failure_of(step, error)), encoding="utf-8")
        _record_fault(step, error, fault)
        raise


def _record_fault(step: str, error: Exception, address: str) -> None:
    """Put what only a person can mend into the store: KFP tells of a step's exit code only that it was not 0."""
    if not address or not isinstance(error, BadInput | HopelessTeacher):
        return
    failure = failure_of(step, error)
    try:
        store, key = split_uri(address)
        store.put_if_absent(key, as_bytes(failure))
    except UnderstudyError as lost:
        error.add_note(f"The fault could not be recorded, so the run may be repeated in vain: {lost}")


def failure_of(step: str, error: Exception) -> dict[str, Any]:
    """Say in a record why a step failed: its own sentences, or the kind and text of an error nobody expected."""
    if isinstance(error, UnderstudyError):
        return {"step": step, "exit_code": error.exit_code, "message": redact(str(error))}
    return {"step": step, "exit_code": 1, "message": redact(f"{step} failed: {type(error).__name__}: {error}")}
