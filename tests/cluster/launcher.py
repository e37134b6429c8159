"""Stand-in for KFP's launcher, which is not to be had here: runs in the pod, around a component's own command.

    python3 launcher.py EXECUTOR_INPUT COMMAND ARG...

As the launcher does, it puts the executor input in place of `{{$}}`, copies input artifacts from the object store to
their local paths, runs the command, and copies output artifacts back. What the command says of its outputs goes to
<root of the outputs>/executor_output.json, where the launcher would tell the metadata store.

Source: kubeflow/pipelines backend/src/v2/component/launcher_v2.go and objectstore/object_store.go.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3

PLACEHOLDER = "{{$}}"
ROOT = Path("/s3")
TOLD = "executor_output.json"


def artifacts(side: dict[str, Any]) -> Iterator[str]:
    """Return the addresses of all artifacts of the inputs or outputs."""
    for listed in side.get("artifacts", {}).values():
        for artifact in listed["artifacts"]:
            yield artifact["uri"]


def local_path(uri: str, root: Path = ROOT) -> Path:
    """Return where a component finds an artifact: s3://bucket/key is /s3/bucket/key."""
    return root / uri.removeprefix("s3://")


def download(s3: Any, uri: str, root: Path = ROOT) -> None:
    """Copy an artifact, one object or all objects under its address."""
    bucket, prefix = urlsplit(uri).netloc, urlsplit(uri).path.strip("/")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            place = local_path(f"s3://{bucket}/{item['Key']}", root)
            place.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, item["Key"], str(place))


def upload(s3: Any, uri: str, root: Path = ROOT) -> None:
    """Copy an artifact back; one that was not written is no error, as it is none to the launcher."""
    path = local_path(uri, root)
    for file in [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file()):
        bucket, _, key = str(file.relative_to(root)).partition("/")
        s3.upload_file(str(file), bucket, key)


def main() -> int:
    """Run the command between its downloads and uploads."""
    given, command = json.loads(sys.argv[1]), [word.replace(PLACEHOLDER, sys.argv[1]) for word in sys.argv[2:]]
    s3 = boto3.client("s3")
    for uri in artifacts(given["inputs"]):
        download(s3, uri)
    for uri in artifacts(given["outputs"]):
        local_path(uri).parent.mkdir(parents=True, exist_ok=True)
    told = Path(given["outputs"]["outputFile"])
    told.parent.mkdir(parents=True, exist_ok=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        return code
    for uri in artifacts(given["outputs"]):
        upload(s3, uri)
    root = next(artifacts(given["outputs"])).rpartition("/")[0]
    bucket, _, key = f"{root}/{TOLD}".removeprefix("s3://").partition("/")
    s3.put_object(Bucket=bucket, Key=key, Body=told.read_bytes() if told.exists() else b"{}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
