"""Submit a step of a run again, alone or with all that follows from it; importers bring what is kept."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

from understudy.errors import BadArtifact, BadInput
from understudy.pipelines.compile import load_pipeline, pods
from understudy.pipelines.single import ADDRESS, component_of, pipeline_name, single
from understudy.runners import downstream, names, overrides, runs
from understudy.runners.cluster import artifacts, claims, follow
from understudy.runners.cluster.artifacts import Artifact, artifacts_around, made_in
from understudy.runners.cluster.create import Cluster, Target, connected, create_once
from understudy.runners.cut import followers
from understudy.runners.runs import Record
from understudy.runners.terminal import say, tell
from understudy.store import layout
from understudy.store.runs import DECISION, FAULT, key_of
from understudy.store.storage import Store, prepare_store


def run_step(artifact: str, changes: str, store_uri: str, target: Target, *, is_waiting: bool) -> int:
    """Submit the step that made an artifact again, with other settings.

    Args:
        artifact: its address in object storage, or a folder here whose inputs lie in object storage.
        changes: key=value lines, on top of those of the first run.
        store_uri: what outlives the run; empty for the one that the step was given.
        target: where the run is to be created.
        is_waiting: wait until it has ended.

    Returns:
        the exit code.

    Raises:
        BadInput: something cannot be read by the cluster, or a setting breaks a rule.
        ApiFailed: the pipelines API is out of order.
    """
    made = artifacts.find(artifact, store_uri)
    overrides.check(made.provenance, changes)
    place = store_uri or str(made.provenance["arguments"].get("store", ""))
    inputs = artifacts.inputs_of(made, place)
    store = open_there(place)
    name = names.rerun_name(made.step)
    parameters = parameters_of(made, changes) | own_places(store, name, made.provenance["arguments"])
    stale = list(stale_lines(made, place))
    say(f"Made anew: {made.step}.\nKept: {', '.join(inputs) or 'no artifact'}.")
    cluster = connected(target, store)
    record = record_of(name, made, parameters, cluster)
    spec, arguments = one_step(made.step, inputs, parameters)
    code = submit(cluster, record, spec, arguments, is_waiting=is_waiting)
    for line in stale:
        say(line)
    return code


def run_downstream(name: str, step: str, changes: str, store_uri: str, target: Target, *, is_waiting: bool) -> int:
    """Submit a step of a run and all that follows from it, as a run of its own.

    Args:
        name: of the run in the store.
        step: where to begin.
        changes: step.key=value lines, on top of those of the first run.
        store_uri: that the run was submitted with.
        target: where the run is to be created.
        is_waiting: wait until it has ended.

    Returns:
        the exit code.

    Raises:
        BadInput: something that is to be kept is not there, or a setting breaks a rule.
        ApiFailed: the pipelines API is out of order.
    """
    store = open_there(store_uri)
    first, made = claims.claimed(store, runs.require_run(store, name)), made_in(store, name)
    places = {(it.step, str(it.provenance["output"])): it.uri for it in made}
    planned = downstream.plan(first, step, changes, places, {})
    new = names.rerun_name(step)
    arguments = {**planned.arguments, **own_places(store, new, planned.arguments)}
    for line in planned.lines():
        say(line)
    cluster = connected(target, store)
    there = cluster.target.claimed(first.card, version="")
    record = replace(
        first,
        name=new,
        arguments=arguments,
        started=runs.utc_now(),
        artifacts=target.root,
        target=there,
        inputs="",
        begins_at=step,
    )
    platform = MessageToDict(load_pipeline(first.pipeline).platform_spec)
    spec = {"pipeline_spec": planned.cut.spec, "platform_spec": of_executors(platform, planned.cut.spec)}
    return submit(cluster, record, spec, arguments, is_waiting=is_waiting)


def open_there(uri: str) -> Store:
    """Open the store of a step that runs on the cluster.

    Raises:
        BadInput: it lies on this machine, or cannot be written.
    """
    if not uri.startswith("s3://"):
        raise BadInput(
            f"The store of a step that runs on the cluster must begin with s3://, got '{uri}' (--store). Name it."
        )
    return prepare_store(uri)


def submit(
    cluster: Cluster, record: Record, spec: Mapping[str, Any], arguments: Mapping[str, str], *, is_waiting: bool
) -> int:
    """Claim the name of a rerun, create its run once, and wait for it when asked to; returns the exit code."""
    first = claims.claim(cluster.store, record, tell)
    about, _ = create_once(cluster, first, spec, arguments)
    say(f"Submitted: {record.name}\nRun: {about['run_id']}\n{about['url']}")
    return follow.wait(cluster.api, cluster.store, record, about) if is_waiting else 0


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
    """Keep of a platform spec what is of executors that a pipeline has, and how long a run may take and stays."""
    on_kubernetes = platform.get("platforms", {}).get("kubernetes", {})
    executors = on_kubernetes.get("deploymentSpec", {}).get("executors", {})
    kept = {key: it for key, it in executors.items() if key in spec["deploymentSpec"]["executors"]}
    return {"platforms": {"kubernetes": {**on_kubernetes, "deploymentSpec": {"executors": kept}}}}


def parameters_of(made: Artifact, changes: str) -> dict[str, Any]:
    """Return the step's parameters: those of the first run, new settings in the place of old ones."""
    arguments, inputs = made.provenance["arguments"], made.provenance["inputs"]
    before = {name: value for name, value in arguments.items() if name not in inputs}
    return {**before, "overrides": overrides.merged(made.step, str(before.get("overrides", "")), changes)}


def own_places(store: Store, name: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the addresses at which a run leaves its decision and its fault, of those that its arguments name."""
    files = {"record": DECISION, "fault": FAULT}
    return {key: store.locate(key_of(name, file)) for key, file in files.items() if key in arguments}


def record_of(name: str, made: Artifact, parameters: Mapping[str, Any], cluster: Cluster) -> Record:
    """Write down what is asked for, as `understudy runs` lists it."""
    card_hash, store = str(made.provenance.get("card_hash") or ""), cluster.store
    cards = layout.CARDS.listed(store, name=card_hash)
    card = cards[0][1]["card"] if cards else "understudy"
    return Record(
        name=name,
        pipeline=pipeline_name(made.step),
        runner=claims.RUNNER,
        card=card,
        card_hash=card_hash,
        arguments={"artifact": made.uri, **{key: str(value) for key, value in parameters.items()}},
        started=runs.utc_now(),
        artifacts=cluster.target.root,
        target=cluster.target.claimed(card, version=""),
        begins_at=made.step,
    )


def stale_lines(made: Artifact, store_uri: str) -> Iterator[str]:
    """Say what was made from the old outputs of the step, at any distance, and is stale once they are replaced."""
    around = {it.uri: it for it in artifacts_around(made, store_uri)}
    old = {uri for uri, it in around.items() if (it.task, it.step) == (made.task, made.step)} | {made.uri}
    stale = followers(old, {uri: it.sources for uri, it in around.items()})
    if not stale:
        yield "Nothing of that run was made from what this step makes."
    for uri in stale:
        yield f"Stale, if the new one replaces it: {around[uri].step} {uri}"
