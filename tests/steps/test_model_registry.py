"""Telling a Model Registry of a published version: once, with its figures and its run, and never in publish's way."""

import threading
from dataclasses import replace

import pytest

from tests.services.model_registry import Registry, serve
from understudy.runtime.retry import Patience
from understudy.steps.publish import model_registry
from understudy.steps.publish.model_registry import Entry, Unregistered, register

ENTRY = Entry(
    model="hotel-tips",
    question="Is it a tip?",
    version="hotel-tips-0123456789ab",
    headline="F1 0.84 is at least 0.75",
    uri="s3://bucket/store/bundles/hotel-tips-0123456789ab",
    properties={"f1": 0.84, "card_hash": "ab" * 32, "is_rehearsal": False},
    run_id="57961422-1efc-4683-898f-195ce9f74b35",
    run_name="training-2cgv5",
    namespace="understudy",
)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(model_registry, "PATIENCE", Patience(1, 0.01, 1, first_pause_s=0.01))


@pytest.fixture
def there():
    registry = Registry()
    with serve(registry) as url:
        yield registry, url
    assert registry.violations == []


def test_model_version_and_artifact_say_what_was_published_and_by_which_run(there):
    registry, url = there
    register(url, ENTRY)
    (model,), (version,), (artifact,) = registry.things.values()
    assert (model["name"], version["name"], version["registeredModelId"]) == ("hotel-tips", ENTRY.version, model["id"])
    assert artifact["parent"] == version["id"]
    assert version["customProperties"] == {
        "f1": {"metadataType": "MetadataDoubleValue", "double_value": 0.84},
        "card_hash": {"metadataType": "MetadataStringValue", "string_value": "ab" * 32},
        "is_rehearsal": {"metadataType": "MetadataBoolValue", "bool_value": False},
    }
    wanted = {"artifactType": "model-artifact", "modelFormatName": "ONNX", "uri": ENTRY.uri, "modelSourceKind": "kfp"}
    wanted |= {"modelSourceClass": "pipelinerun", "modelSourceGroup": "understudy"}
    wanted |= {"modelSourceId": ENTRY.run_id, "modelSourceName": ENTRY.run_name}
    assert wanted.items() <= artifact.items()


def test_telling_again_makes_nothing_twice(there):
    registry, url = there
    for _ in range(2):
        register(url, ENTRY)
    register(url, replace(ENTRY, version="hotel-tips-ba9876543210"))
    assert {kind: len(made) for kind, made in registry.things.items()} == {"model": 1, "version": 2, "artifact": 2}
    assert sum(request.startswith("POST") for request in registry.requests) == 5


def test_a_creation_whose_answer_was_lost_is_found_again(there):
    registry, url = there
    registry.lost = 1
    register(url, ENTRY)
    assert {kind: len(made) for kind, made in registry.things.items()} == {"model": 1, "version": 1, "artifact": 1}


def test_two_at_once_make_one_of_each(there):
    registry, url = there
    threads = [threading.Thread(target=register, args=(url, ENTRY)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {kind: len(made) for kind, made in registry.things.items()} == {"model": 1, "version": 1, "artifact": 1}


def test_without_a_run_no_source_is_made_up(there):
    registry, url = there
    register(url, replace(ENTRY, run_id=""))
    assert not {name for name in registry.things["artifact"][0] if name.startswith("modelSource")}


def test_a_token_is_sent_and_one_that_is_missing_is_told(there, monkeypatch):
    registry, url = there
    registry.token = "a-token-of-the-registry"
    with pytest.raises(Unregistered, match=r"was not told \(status 401"):
        register(url, ENTRY)
    monkeypatch.setenv(model_registry.TOKEN, registry.token)
    register(url, ENTRY)
    assert len(registry.things["artifact"]) == 1
