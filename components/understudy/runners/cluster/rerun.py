"""Make a step again on the cluster, alone or with all that follows from it; importers bring what is kept."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

from understudy.errors import BadArtifact, BadInput
from understudy.pipelines.compile import load_pipeline, pods
from understudy.pipelines.single import ADDRESS, component_of, single
from understudy.runners import rerun, runs
from understudy.runners.cluster import artifacts, claims, follow
from understudy.runners.cluster.api import Api, connect
from understudy.runners.cluster.submit import Target, claimed_target, create_once
from understudy.runners.runs import Record
from understudy.runners.terminal import say, tell
from understudy.runtime import provenance
from understudy.store import layout
from understudy.store.runs import DECISION, FAULT, SUBMITTED, key_of, read
from understudy.store.storage import Store, prepare_store
from understudy.task.steps import STEPS

RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Found:
    """An artifact in object storage, with its provenance."""

    uri: str
    record: Mapping[str, Any]

    @property
    def step(self) -> str:
        """Name of the step that made it."""
        return str(self.record["step"])


def run_step(artifact: str, overrides: str, store_uri: str, target: Target, *, is_waiting: bool) -> int:
    """Submit the step that made an artifact again, with other settings.

    Args:
        artifact: its address in object storage, or a folder here whose inputs lie in object storage.
        overrides: key=value lines, on top of those of the first run.
        store_uri: what outlives the run; empty for the one that the step was given.
        target: where the run is to be created.
        is_waiting: wait until it has ended.

    Returns:
        the exit code.

    Raises:
        BadInput: something cannot be read by the cluster, or a setting breaks a rule.
        ApiFailed: the pipelines API is out of order.
    """
    made = find(artifact, store_uri)
    rerun.check_settings(made.record, overrides)
    place = store_uri or str(made.record["arguments"].get("store", ""))
    inputs = inputs_of(made, place)
    store = prepare_store(on_s3(place))
    name = rerun.new_name(made.step)
    parameters = parameters_of(made, overrides, store.locate(key_of(name, DECISION)))
    stale = list(stale_lines(made, place))
    say(f"Made anew: {made.step}.\nKept: {', '.join(inputs) or 'no artifact'}.")
    api = connect(target.host, target.namespace)
    record = record_of(name, made, store, parameters, replace(target, host=api.host))
    spec, arguments = one_step(made.step, inputs, parameters)
    code = submit(api, store, record, spec, arguments, target.ui, is_waiting=is_waiting)
    for line in stale:
        say(line)
    return code


def run_downstream(name: str, step: str, overrides: str, store_uri: str, target: Target, *, is_waiting: bool) -> int:
    """Submit a step of a run and all that follows from it, as a run of its own.

    Args:
        name: of the run in the store.
        step: where to begin.
        overrides: step.key=value lines, on top of those of the first run.
        store_uri: that the run was submitted with.
        target: where the run is to be created.
        is_waiting: wait until it has ended.

    Returns:
        the exit code.

    Raises:
        BadInput: something that is to be kept is not there, or a setting breaks a rule.
        ApiFailed: the pipelines API is out of order.
    """
    store = prepare_store(on_s3(store_uri))
    first, made = claims.claimed(store, runs.require_run(store, name)), made_in(store, name)
    places = {(it.step, str(it.record["output"])): it.uri for it in made}
    planned = rerun.plan_downstream(first, step, overrides, places, {})
    new = rerun.new_name(step)
    arguments = {**planned.arguments, "fault": store.locate(key_of(new, FAULT))}
    if "record" in arguments:
        arguments["record"] = store.locate(key_of(new, DECISION))
    for line in planned.lines():
        say(line)
    api = connect(target.host, target.namespace)
    there = claimed_target(replace(target, host=api.host), target.experiment or first.card, "")
    record = replace(
        first, name=new, arguments=arguments, started=runs.utc_now(), artifacts=target.root, target=there, inputs=""
    )
    platform = MessageToDict(load_pipeline(first.pipeline).platform_spec)
    spec = {"pipeline_spec": planned.cut.spec, "platform_spec": of_executors(platform, planned.cut.spec)}
    return submit(api, store, record, spec, arguments, target.ui, is_waiting=is_waiting)


def submit(
    api: Api,
    store: Store,
    record: Record,
    spec: Mapping[str, Any],
    arguments: Mapping[str, str],
    ui: str,
    *,
    is_waiting: bool,
) -> int:
    """Claim the name of a rerun, create its run once, and wait for it when asked to; returns the exit code."""
    first = claims.claim(store, record, tell)
    about, _ = create_once(api, store, first, spec, arguments, ui)
    say(f"Submitted: {record.name}\nRun: {about['run_id']}\n{about['url']}")
    return follow.wait(api, store, record, about) if is_waiting else 0


def artifact_of(name: str, step: str, store_uri: str) -> str:
    """Find the address of an artifact that a step of a run has made.

    Raises:
        BadInput: there is none, or the step ran several times.
    """
    made = [it for it in made_in(prepare_store(on_s3(store_uri)), name) if it.step == step]
    tasks = sorted({it.uri.rpartition("/")[0] for it in made})
    if not made:
        raise BadInput(f"A step that is run again must have run, got '{step}', which '{name}' did not (--from).")
    if len(tasks) > 1:
        raise BadInput(
            f"A step that is run again alone must have run once, got {len(tasks)} times ({step}, --from). Add "
            f"--downstream, or give an artifact of one of them: {tasks[0]}/..."
        )
    return made[0].uri


def made_in(store: Store, name: str) -> list[Found]:
    """Find the artifacts of a submitted run; of a step that was tried again, the newest come last.

    Raises:
        BadInput: the store does not say where they lie.
    """
    about = read(store, runs.require_run(store, name), SUBMITTED) or {}
    if not (root := str(about.get("artifacts", ""))):
        raise BadInput(
            f"A run must say where its artifacts lie, got nothing of '{name}', which was submitted without --root. "
            "Give the address of an artifact, which its page shows."
        )
    return sorted(artifacts_below(root, store.uri), key=lambda it: str(it.record.get("ended", "")))


def one_step(
    step: str, inputs: Mapping[str, str], parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compile the pipeline of one step; its pod is the one that the step has in its own pipeline.

    Args:
        step: name of the step.
        inputs: addresses of its input artifacts.
        parameters: its parameters; what its component does not know is left out.

    Returns:
        pipeline_spec and platform_spec as a run is created from them, and its arguments.

    Raises:
        BadArtifact: no pipeline has the step.
    """
    there = pods()
    if step not in there:
        raise BadArtifact(f"A step must belong to a pipeline, got '{step}'. Rerun it here, without --submit.")
    known = component_of(step).component_spec.inputs or {}
    given = {name: value for name, value in parameters.items() if name in known}
    return single(step, there[step], inputs), {**{f"{name}{ADDRESS}": uri for name, uri in inputs.items()}, **given}


def of_executors(platform: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a platform spec what is of executors that a pipeline has."""
    on_kubernetes = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    kept = {key: it for key, it in on_kubernetes.items() if key in spec["deploymentSpec"]["executors"]}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": kept}}}}


def find(artifact: str, store_uri: str = "") -> Found:
    """Read the provenance of an artifact.

    Raises:
        BadArtifact: there is none, or it is no record of a step.
        StorageError: the storage that it lies in is out of order.
    """
    if "://" not in artifact:
        record = provenance.read(Path(artifact))
        return _whole(Found(str(record.get("uri") or artifact), record))
    if not artifacts.is_reachable(artifact):
        raise BadInput(
            f"An artifact must lie on S3, got '{artifact}'. Give its s3:// or minio:// address, or a folder."
        )
    with artifacts.told_apart(artifact):
        found = artifacts.open_artifact(artifact, store_uri).read_tagged(provenance.FILE)
    if found is None:
        raise _unreadable(artifact, "nothing there")
    return _whole(Found(artifact.rstrip("/"), _parsed(found.data, artifact)))


def _parsed(data: bytes, artifact: str) -> dict[str, Any]:
    try:
        return provenance.parse(data, artifact)
    except BadArtifact as error:
        raise _unreadable(artifact, str(error)) from error


def _unreadable(artifact: str, got: str) -> BadArtifact:
    return BadArtifact(
        f"An artifact must have a readable {provenance.FILE}, got {got} ({artifact}). Give a folder that a step "
        "wrote; for one of its single files, such as a page, give another of its outputs."
    )


def _whole(found: Found) -> Found:
    lacking = [key for key in ("arguments", "inputs") if not isinstance(found.record.get(key), dict)]
    if lacking or found.record.get("step") not in STEPS:
        raise BadArtifact(
            f"A {provenance.FILE} must be the whole record of a step, got no sound {', '.join(lacking) or 'step'} "
            f"({found.uri}). Run the pipeline again."
        )
    return found


def on_s3(uri: str) -> str:
    """Check that an address is one on S3.

    Raises:
        BadInput: it is not.
    """
    if not uri.startswith("s3://"):
        raise BadInput(
            f"The store of a step that runs on the cluster must begin with s3://, got '{uri}' (--store). Name it."
        )
    return uri


def inputs_of(made: Found, store_uri: str) -> dict[str, str]:
    """Return the addresses of a step's inputs, which the cluster must be able to read.

    Raises:
        BadInput: some lie on a machine, or are gone; one sentence each.
        StorageError: the storage that they lie in is out of order.
    """
    inputs = {name: str(place["uri"]) for name, place in made.record["inputs"].items()}
    if faults := [fault for name, uri in inputs.items() if (fault := _fault(name, uri, store_uri))]:
        raise BadInput(faults)
    return inputs


def _fault(name: str, uri: str, store_uri: str) -> str | None:
    if not artifacts.is_reachable(uri):
        return f"An input must lie where the cluster can read it, got {uri} ({name}). Leave out --submit to rerun here."
    parent, _, key = uri.rstrip("/").rpartition("/")
    with artifacts.told_apart(uri):
        keys = artifacts.open_artifact(parent, store_uri).list(key)
    if not any(found == key or found.startswith(f"{key}/") for found in keys):
        return f"An input must still be there, got nothing at {uri} ({name}). Run the pipeline again."
    return None


def parameters_of(made: Found, overrides: str, record: str) -> dict[str, Any]:
    """Return the step's parameters: those of the first run, new settings in the place of old ones."""
    before = {name: value for name, value in made.record["arguments"].items() if name not in made.record["inputs"]}
    lines = rerun.merged(made.step, str(before.get("overrides", "")), overrides)
    return {**before, "overrides": lines, **({"record": record} if "record" in before else {})}


def record_of(name: str, made: Found, store: Store, parameters: Mapping[str, Any], target: Target) -> Record:
    """Write down what is asked for, as `understudy runs` lists it."""
    card_hash = str(made.record.get("card_hash") or "")
    cards = layout.CARDS.listed(store, name=card_hash)
    card = cards[0][1]["card"] if cards else "understudy"
    return Record(
        name=name,
        pipeline=f"rerun-{made.step}",
        runner=claims.RUNNER,
        card=card,
        card_hash=card_hash,
        arguments={"artifact": made.uri, **{key: str(value) for key, value in parameters.items()}},
        started=runs.utc_now(),
        artifacts=target.root,
        target=claimed_target(target, target.experiment or card, ""),
    )


def stale_lines(made: Found, store_uri: str) -> Iterator[str]:
    """Say what was made from the old outputs of the step, at any distance, and is stale once they are replaced."""
    around = {it.uri: it for it in artifacts_of_run(made, store_uri)}
    task = made.uri.rpartition("/")[0]
    old = {uri for uri, it in around.items() if uri.rpartition("/")[0] == task and it.step == made.step} | {made.uri}
    stale = rerun.stale_after(old, {uri: sources_of(it) for uri, it in around.items()})
    if not stale:
        yield "Nothing of that run was made from what this step makes."
    for uri in stale:
        yield f"Stale, if the new one replaces it: {around[uri].step} {uri}"


def sources_of(artifact: Found) -> set[str]:
    """Return the addresses of an artifact's inputs."""
    return {str(place["uri"]).rstrip("/") for place in artifact.record["inputs"].values()}


def artifacts_of_run(made: Found, store_uri: str) -> Iterator[Found]:
    """Find the artifacts of the run that an artifact belongs to: all below the first folder named by a run's id."""
    parts = made.uri.split("/")
    index = next((at for at, part in enumerate(parts) if RUN_ID.fullmatch(part)), None)
    if index is not None and artifacts.is_reachable(made.uri):
        yield from artifacts_below("/".join(parts[: index + 1]), store_uri)


def artifacts_below(root: str, store_uri: str) -> Iterator[Found]:
    """Find the artifacts below an address."""
    store = artifacts.open_artifact(root, store_uri)
    for file in store.list():
        if file.endswith(f"/{provenance.FILE}"):
            uri = f"{root}/{file.removesuffix(f'/{provenance.FILE}')}"
            yield _whole(Found(uri, _parsed(store.read(file), uri)))
