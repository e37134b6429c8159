"""Open the storage of KFP's artifacts from this machine; its address and keys may be others than the store's.

Kubeflow Pipelines writes `minio://bucket/..` for the storage that it brings along, and `s3://` for others. Settings of
the store (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, ...) serve both unless the same names with ARTIFACTS_ before them say
where KFP's storage is; then these serve every address outside of the store's own bucket, and nothing else does.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from understudy.errors import BadArtifact, BadInput, StorageError
from understudy.store.address import parse_address
from understudy.store.storage import Store, open_store

SCHEMES = ("s3://", "minio://")
PREFIX = "ARTIFACTS_"
SETTINGS = ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
OTHERS = ("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_PROFILE")  # which must not stand in for one that is not given


def is_reachable(uri: str) -> bool:
    """Tell whether an address is one that the cluster, and this machine, can read."""
    return uri.startswith(SCHEMES)


def open_artifact(uri: str, store_uri: str = "") -> Store:
    """Open the folder that an artifact is, with the settings of the storage that it lies in.

    Args:
        uri: s3:// or minio:// address.
        store_uri: the store, whose bucket goes by the store's settings.

    Raises:
        BadInput: the settings cannot be.
    """
    place = parse_address(f"s3://{uri.partition('://')[2]}", "artifact")
    address = f"s3://{place.bucket}/{place.key}"
    is_in_store = uri.startswith("s3://") and place.bucket == _bucket_of(store_uri)
    if is_in_store or not has_own_settings():
        return open_store(address)
    with _settings_of_artifacts():
        return open_store(address)


def has_own_settings() -> bool:
    """Tell whether KFP's storage has settings of its own here."""
    return any(os.environ.get(f"{PREFIX}{name}") for name in SETTINGS)


@contextmanager
def told_apart(uri: str) -> Iterator[None]:
    """Say of a failed read in which storage it was, and by which settings.

    Raises:
        BadArtifact: the storage refuses, or has no such bucket.
        StorageError: it is out of order.
    """
    own = f"those that begin with {PREFIX}" if has_own_settings() else "the store's, as none begin with " + PREFIX
    remedy = (
        f"Set {', '.join(f'{PREFIX}{name}' for name in SETTINGS[:3])} to those of the storage that Kubeflow Pipelines "
        "keeps its artifacts in."
    )
    try:
        yield
    except (BadInput, StorageError) as error:
        if isinstance(error, BadArtifact):
            raise
        kind = StorageError if isinstance(error, StorageError) else BadArtifact
        raise kind(
            f"An artifact must be readable where KFP keeps it, got: {error} ({uri}, by {own}). {remedy}"
        ) from error


@contextmanager
def _settings_of_artifacts() -> Iterator[None]:
    """Let boto3, which reads the environment when a client is made, see the settings of KFP's storage."""
    names = (*SETTINGS, *OTHERS)
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    own = {name: os.environ[f"{PREFIX}{name}"] for name in SETTINGS if os.environ.get(f"{PREFIX}{name}")}
    os.environ.update({"AWS_REGION": "us-east-1", **own})
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def _bucket_of(uri: str) -> str:
    return parse_address(uri).bucket if uri.startswith("s3://") else ""
