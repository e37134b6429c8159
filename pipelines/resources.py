"""Give a step's pod its user, its share of a node, and what it may read and reach; keep KFP's cache away from it.

KFP's local runner and the direct runner ignore all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp import kubernetes
from kfp.dsl import PipelineConfig

from understudy.pipelines.labels import pod_labels
from understudy.runtime.machine import ACCELERATOR
from understudy.runtime.shell import OWN_KEY, STORAGE_KEYS
from understudy.steps.publish import model_registry
from understudy.store.signatures import SIGNING_KEY, TRUSTED_KEYS
from understudy.task.steps import STEPS
from understudy.teacher.access import address_variable, key_variable

USER = 65532  # of the images: numeric, so that a kubelet can see that it is not root
SETTINGS, STORAGE, TEACHER = "understudy-settings", "understudy-storage", "understudy-teacher"
ELASTICSEARCH, WEBHOOK = "understudy-elasticsearch", "understudy-webhook"
SIGNING, TRUSTED, REGISTRY = "understudy-signing", "understudy-trusted-keys", "understudy-model-registry"
TEACHER_CLIENT, ELASTICSEARCH_CLIENT = "understudy/teacher-client", "understudy/elasticsearch-client"
LOST_PODS = 3  # how often a task is begun anew whose pod was lost
PART_OF = {"app.kubernetes.io/part-of": "understudy"}
HOUR_S = 3600
DAY_S = 24 * HOUR_S
KEPT_S = 7 * DAY_S  # how long a run's Workflow and pods stay after its end; its record at the API stays
# How long a run may take. A batch of the teacher's may take a day; a night is over when the next begins, which goes on
# where it stopped; a training asks the teacher twice, and trains for hours.
LONGEST_S = {"training": 7 * DAY_S, "nightly": DAY_S, "quality": 3 * DAY_S}
PAUSES = {"backoff_duration": "30s", "backoff_factor": 2.0, "backoff_max_duration": "600s"}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What train runs on besides CPUs.

    Attributes:
        type: the resource's name, such as "nvidia.com/gpu".
        count: how many.
        node_selector: labels that a node must have.
        tolerations: taints that the pod may live with, each with key, operator, value and effect.
    """

    type: str
    count: int = 1
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()


def lifetime(pipeline: str) -> PipelineConfig:
    """Say how long a run of a pipeline may take, and how long it stays in the cluster."""
    longest_s = LONGEST_S.get(pipeline)
    return PipelineConfig(ttl_seconds_after_finished=KEPT_S, active_deadline_seconds=longest_s)


def place(*tasks: Any) -> None:
    """Give every task its user, its share of a node, the store's key and the addresses that the settings name.

    A Secret of the step's own, where there is one, holds the key that it opens the store with, and not all steps' one.

    Keys that are trusted to sign bundles are given to all, as most open the one that serves.

    A task is begun anew when its pod is lost. Stock KFP merges `retryPolicy: OnError` into every workflow, so one whose
    container has ended with an error is not: the steps themselves try again what may pass.
    """
    for task in tasks:
        task.set_retry(LOST_PODS, **PAUSES)
        step = STEPS[task.name]
        task.set_cpu_request(step.cpu[0]).set_cpu_limit(step.cpu[1])
        task.set_memory_request(f"{step.memory_mib[0]}Mi").set_memory_limit(f"{step.memory_mib[1]}Mi")
        kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
        use_settings(task, "AWS_ENDPOINT_URL_S3", "AWS_REGION")
        kubernetes.use_secret_as_env(task, STORAGE, {key: key for key in STORAGE_KEYS}, optional=True)
        for key, value in {**PART_OF, "app.kubernetes.io/component": task.name, **pod_labels()}.items():
            kubernetes.add_pod_label(task, key, value)
        own = {key: f"{OWN_KEY}{key}" for key in STORAGE_KEYS}
        kubernetes.use_secret_as_env(task, f"{STORAGE}-{task.name}", own, optional=True)
        kubernetes.use_secret_as_env(task, TRUSTED, {"keys": TRUSTED_KEYS}, optional=True)


def publish_as(task: Any) -> None:
    """Give a task its run's name, and where there are any the key that signs bundles and a model registry's token."""
    kubernetes.use_secret_as_env(task, SIGNING, {"key": SIGNING_KEY}, optional=True)
    kubernetes.use_secret_as_env(task, REGISTRY, {"token": model_registry.TOKEN}, optional=True)
    fields = {
        model_registry.RUN_ID: "metadata.labels['pipeline/runid']",
        model_registry.RUN_NAME: "metadata.labels['workflows.argoproj.io/workflow']",
        model_registry.RUN_NAMESPACE: "metadata.namespace",
    }
    for name, path in fields.items():
        kubernetes.use_field_path_as_env(task, name, path)


def never_cache(*tasks: Any) -> None:
    """Run these tasks every time: KFP's cache does not see what changed behind an address."""
    for task in tasks:
        task.set_caching_options(False)


def ask_teacher(*tasks: Any) -> None:
    """Give these tasks the teacher's key, and their pods the label by which a network policy lets them out."""
    for task in tasks:
        kubernetes.use_secret_as_env(task, TEACHER, {"api_key": "OPENAI_API_KEY"})
        kubernetes.add_pod_label(task, TEACHER_CLIENT, "true")
        use_settings(task, "OPENAI_BASE_URL")


def ask_role(role: str, task: Any) -> None:
    """Give a task the address and key of another of the card's models, where the installation has any."""
    kubernetes.use_secret_as_env(task, f"{TEACHER}-{role}", {"api_key": key_variable(role)}, optional=True)
    use_settings(task, address_variable(role))


def use_elasticsearch(task: Any) -> None:
    """Give a task the index's address and key, where there are any, and its pod the label that lets it reach it."""
    kubernetes.add_pod_label(task, ELASTICSEARCH_CLIENT, "true")
    use_settings(task, "ELASTICSEARCH_URL")
    kubernetes.use_secret_as_env(task, ELASTICSEARCH, {"api_key": "ELASTICSEARCH_API_KEY"}, optional=True)


def call_webhook(task: Any) -> None:
    """Give a task the address that is called on an alarm, where there is one."""
    kubernetes.use_secret_as_env(task, WEBHOOK, {"url": "UNDERSTUDY_WEBHOOK_URL"}, optional=True)


def accelerate(task: Any, accelerator: Accelerator | None) -> None:
    """Let a task run on a node with an accelerator, and tell it, so that it checks what it got; None is for CPUs."""
    if accelerator is None:
        return
    task.set_accelerator_type(accelerator.type).set_accelerator_limit(accelerator.count)
    task.set_env_variable(ACCELERATOR, accelerator.type)
    for key, value in accelerator.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in accelerator.tolerations:
        kubernetes.add_toleration(task, **toleration)


def use_settings(task: Any, *names: str) -> None:
    """Put settings of the installation into a task's environment; those that it does not have are left out."""
    kubernetes.use_config_map_as_env(task, SETTINGS, {name: name for name in names}, optional=True)
