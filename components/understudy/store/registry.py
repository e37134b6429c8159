"""Publish bundles in a registry: whole versions, one pointer to the one that serves, and its history.

    bundles/<version>/<file>                 the bundle
    bundles/<version>/papers/<hash>/<file>   what was published with it: report, evaluation, model card
    bundles/<version>/manifest.json          put last, with the SHA-256 of every file: without it there is no version
    bundles/<version>/manifest.json.sig      who vouches for it, where a key is configured (store/signatures.py)
    current.json                             which version serves; moved by compare-and-swap only
    history/<generation>.json                every state that current.json ever had

The swap of current.json is the one moment at which a change takes place. A state is kept in the history before
anything replaces it, so neither a kill nor a second publisher can lose one.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Required

from pydantic import Field
from typing_extensions import TypedDict

from understudy.errors import BadArtifact, BadInput, Conflict
from understudy.store import codecs, layout, signatures
from understudy.store.bundles import (
    BUNDLE_FILE,
    MOST_FILE_BYTES,
    TOKENIZER_FILE,
    check_files,
    parse_settings,
    read_settings,
    require_vouched,
)
from understudy.store.cache import cache_folder, caching
from understudy.store.hashing import hash_file
from understudy.store.leftovers import held_folder
from understudy.store.names import PATTERNS, CardName, Digest, FilePath, Version, inside
from understudy.store.storage import Beaten, Store, contend
from understudy.task.card import CARD_FILE, Card, load_card, parse_card

CURRENT = layout.CURRENT.key()
MANIFEST = "manifest.json"
REPORT = "report.html"
ORIGIN = "origin.json"
MOST_FILES = 1000  # of a version; a bundle and its papers have about ten


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedVersion:
    """A published version.

    Attributes:
        version: its name.
        card: name of the task card.
        card_hash: hash of the card that it was made by.
        is_rehearsal: a rehearsal teacher had a part in it.
        is_forced: it was published with publish.force.
        papers: folder of its papers, below the version's.
        files: SHA-256 of every file, by its path below the version's folder.
    """

    version: Version
    card: CardName
    card_hash: Digest
    is_rehearsal: bool
    is_forced: bool
    papers: FilePath
    files: Annotated[Mapping[FilePath, Digest], Field(max_length=MOST_FILES)]

    @property
    def bundle_files(self) -> dict[str, str]:
        """The files that make up the bundle, without its papers."""
        return {name: digest for name, digest in self.files.items() if not name.startswith("papers/")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """Which version serves.

    Attributes:
        version: its name.
        previous: the version that a rollback goes to; None when there is none.
        generation: rises by one with every change, a rollback too.
        published: when the change was made, UTC.
        card: name of the task card.
        card_hash: hash of the card that the version was made by.
        report: key of the version's report.
        is_rehearsal: a rehearsal teacher had a part in it.
        is_forced: it was published with publish.force.
    """

    version: Version
    previous: Version | None
    generation: Annotated[int, Field(ge=1)]
    published: Annotated[str, Field(max_length=40)]
    card: CardName
    card_hash: Digest
    report: FilePath
    is_rehearsal: bool
    is_forced: bool = False


class Figure(TypedDict, total=False):
    """A figure of an evaluation, with its interval."""

    value: Required[float | None]
    low: Required[float | None]
    high: Required[float | None]


class System(TypedDict, total=False):
    """What an evaluation says of the student, the teacher or a baseline."""

    name: Required[str]
    figures: Required[dict[str, Any]]


class Weights(TypedDict):
    """What a student began with."""

    name: str
    weights: str
    sha256: str | None
    licence: str | None


class Labeller(TypedDict):
    """Who labelled what it learned from."""

    model: str
    is_rehearsal: bool


class Origin(TypedDict):
    """What went into a published version: origin.json among its papers.

    Attributes:
        version: its name.
        card: name and SHA-256.
        code: release of Understudy by the step that it ran.
        data: SHA-256 of each artifact that calibrate and evaluate read, by its name; `revised` are the judgements that
            the step revise handed on to train.
        student: what it began with.
        teacher: who labelled.
        files: SHA-256 of each file of the bundle.
    """

    version: str
    card: dict[str, str]
    code: dict[str, str]
    data: dict[str, str]
    student: Weights
    teacher: Labeller
    files: dict[str, str]


class Paper(TypedDict, total=False):
    """What is read of an evaluation that was published."""

    systems: list[System]


def publish_bundle(store: Store, bundle: Path, papers: Mapping[str, bytes], *, is_forced: bool = False) -> Current:
    """Put a bundle and its papers into the store, then let `current.json` name it.

    Doing it again changes nothing; after a kill it goes on where it stopped.

    Args:
        store: where to.
        bundle: the bundle's folder.
        papers: files that are kept beside it, by name; `report.html` is one of them.
        is_forced: publish by force: a rehearsal may then replace what was learned from bought answers.

    Raises:
        BadArtifact: the bundle was altered, or its version is in the store with other content.
        BadInput: the store serves another card, or this is a rehearsal and what serves is not.
    """
    settings = read_settings(bundle)
    check_files(bundle, settings["files"])
    card = load_card(bundle)
    contents = {name: (bundle / name).read_bytes() for name in (*settings["files"], BUNDLE_FILE)}
    folder = f"papers/{_papers_hash(papers)}"
    contents |= {f"{folder}/{name}": data for name, data in papers.items()}
    published = PublishedVersion(
        version=_safe_version(settings["version"]),
        card=card.name,
        card_hash=card.hash,
        is_rehearsal=settings["is_rehearsal"],
        is_forced=is_forced,
        papers=folder,
        files={name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())},
    )
    _require_fitting(store, published, read_current(store))
    stored = replace(_upload(store, published, contents), is_forced=is_forced)
    return _swap(store, lambda current: _published(store, stored, current))


def rollback(store: Store, to: str | None = None) -> Current:
    """Let `current.json` name the version before the one that serves, or the version `to`.

    Raises:
        BadInput: nothing is published, there is no version before, `to` is not in the store or serves already, or the
            version before is a rehearsal and what serves is not.
        Conflict: somebody else moved the pointer meanwhile.
    """
    current = require_current(store)
    published = _rollback_target(store, current, to)
    wanted = _pointer(published, _replaced_by(store, published.version, current), current.generation + 1)

    def change(found: Current | None) -> Current:
        if found is not None and found.version == wanted.version:
            return found
        if found != current:
            raise Conflict(
                f"A rollback must start from the version that serves, got another one meanwhile "
                f"({store.locate(CURRENT)}). Look at it, then run the rollback again."
            )
        return wanted

    return _swap(store, change)


def read_current(store: Store) -> Current | None:
    """Read which version serves; None when nothing is published.

    Raises:
        BadArtifact: `current.json` is damaged.
    """
    found = store.read_tagged(CURRENT)
    return None if found is None else _current_of(found.data, store.locate(CURRENT))


def require_current(store: Store) -> Current:
    """Read which version serves.

    Raises:
        BadInput: nothing is published.
    """
    current = read_current(store)
    if current is None:
        raise BadInput(
            f"A store must hold a published bundle, got none ({store.locate(CURRENT)}). "
            "Publish one first: run the training pipeline, or `understudy publish`."
        )
    return current


def require_same_card(store: Store, card: str, current: Current | None) -> None:
    """Check that a store serves a card, or nothing yet.

    Args:
        store: named in the message.
        card: name of the task card of what is to be published.
        current: what serves.

    Raises:
        BadInput: it serves another card.
    """
    if current is not None and current.card != card:
        raise BadInput(
            f"A store must serve one card, got '{card}' where '{current.card}' serves "
            f"({store.locate(CURRENT)}). Give each card a store of its own."
        )


def require_rehearsal_serves(store: Store, what: str, current: Current | None) -> None:
    """Check that a rehearsal may take the place of what serves, which is a rehearsal too, or nothing yet.

    Args:
        store: named in the message.
        what: the rehearsal that is to be published, in a word or two.
        current: what serves.

    Raises:
        BadInput: what serves was learned from bought answers.
    """
    if current is not None and not current.is_rehearsal:
        raise BadInput(
            f"A rehearsal must not replace what was learned from bought answers, got {what} over "
            f"{current.version} ({store.locate(CURRENT)}). Rehearse in a store of its own, or set publish.force=true."
        )


def read_history(store: Store) -> list[Current]:
    """Read every state that `current.json` had, oldest first, what serves now last."""
    keys = store.list(layout.HISTORY.folder)
    kept = (_current_of(store.read(key), store.locate(key)) for key in keys)
    current = read_current(store)
    states = {state.generation: state for state in (*kept, *filter(None, (current,)))}
    return [states[generation] for generation in sorted(states)]


def list_versions(store: Store) -> list[str]:
    """List the versions that are whole in the store, by name."""
    return sorted(fields["version"] for _, fields in layout.BUNDLES.listed(store) if fields["path"] == MANIFEST)


def read_version(store: Store, version: str) -> PublishedVersion:
    """Read what a published version says of itself in its manifest.

    Raises:
        BadInput: the store has no such version.
        BadArtifact: its manifest is damaged, or another version's.
    """
    return _read_manifest(store, version)[0]


def read_signed(store: Store, version: str) -> PublishedVersion:
    """Read what a published version says of itself, once a trusted key has signed it, where keys are configured.

    Raises:
        BadInput: the store has no such version.
        BadArtifact: its manifest is damaged, not signed, signed by another key, or was altered.
    """
    published, data, key = _read_manifest(store, version)
    if signatures.is_checked():
        signatures.require_trusted(data, _signature(store, key), "A published version", store.locate(key))
    return published


def is_refused(store: Store, version: str) -> bool:
    """Tell whether a published version may not be opened here: keys are trusted, and none of them has signed it."""
    if not signatures.is_checked():
        return False
    _, data, key = _read_manifest(store, version)
    signature = _signature(store, key)
    return signature is None or not signatures.is_trusted(data, signature)


def signature_state(store: Store, version: str) -> str:
    """Say who vouches for a published version, as far as this machine can tell."""
    _, data, key = _read_manifest(store, version)
    signature = _signature(store, key)
    if signature is None:
        return "not signed"
    if not signatures.is_checked():
        return f"signed; by whom is not checked: no {signatures.TRUSTED_KEYS}"
    trusted = signatures.is_trusted(data, signature)
    return "signed by a trusted key" if trusted else "signed by a key that is not trusted"


def _signature(store: Store, key: str) -> bytes | None:
    """Read the signature of a manifest, by the manifest's key; None where nobody signed it."""
    signed = store.read_tagged(key + signatures.SUFFIX)
    return signed.data if signed else None


def _read_manifest(store: Store, version: str) -> tuple[PublishedVersion, bytes, str]:
    """Return a version's manifest, as an object and as it lies in the store, and its key."""
    key = layout.BUNDLES.key(version=_safe_version(version), path=MANIFEST)
    found = store.read_tagged(key)
    if found is None:
        listed = ", ".join(list_versions(store)) or "none"
        raise BadInput(f"A version must be in the store, got '{version}' ({store.locate(key)}). There are: {listed}.")
    published = codecs.read_as(PublishedVersion, found.data, store.locate(key))
    if published.version != version:
        raise codecs.unreadable(f"the manifest of '{version}'", f"that of '{published.version}'", store.locate(key))
    return published, found.data, key


def fetch_settings(store: Store, version: str) -> dict[str, Any]:
    """Read bundle.json of a published version that serves, which must be the one that its manifest vouches for.

    Raises:
        BadInput: the store has no such version.
        BadArtifact: it is not what was published, or not signed where it must be.
    """
    return _settings_of(store, read_signed(store, version))


def read_former_settings(store: Store, version: str) -> dict[str, Any]:
    """Read bundle.json of a published version that need not serve: it may be older than the keys that are trusted.

    Raises:
        BadInput: the store has no such version.
        BadArtifact: it is not what was published.
    """
    return _settings_of(store, read_version(store, version))


def _settings_of(store: Store, published: PublishedVersion) -> dict[str, Any]:
    data, where = _vouched(store, published, BUNDLE_FILE)
    settings = parse_settings(data, where)
    if settings["version"] != published.version:
        raise codecs.unreadable(f"of version '{published.version}'", f"'{settings['version']}'", where)
    return settings


def fetch_card(store: Store, version: str) -> Card:
    """Read the card that a published version was made with.

    Raises:
        BadInput: the store has no such version.
        BadArtifact: it is not what was published.
        BadCard: it is none.
    """
    data, where = _vouched(store, read_signed(store, version), CARD_FILE)
    return parse_card(data.decode("utf-8", "replace"), where, is_draft=True)  # it was taken before it was published


def fetch_tokenizer(store: Store, version: str) -> tuple[bytes, str]:
    """Read tokenizer.json of a published version; return also where it lies.

    Raises:
        BadInput: the store has no such version.
        BadArtifact: it is not what was published.
    """
    return _vouched(store, read_signed(store, version), TOKENIZER_FILE)


def _vouched(store: Store, published: PublishedVersion, name: str) -> tuple[bytes, str]:
    """Read a file of a published version, for which its manifest must vouch; return also where it lies."""
    key = layout.BUNDLES.key(version=published.version, path=name)
    data = store.read(key)
    _require_hash(data, published.files.get(name), store.locate(key))
    return data, store.locate(key)


def read_paper(store: Store, published: PublishedVersion, name: str, kind: Any = Paper) -> dict[str, Any]:
    """Read a JSON paper of a published version; `name` is one of its files, and `kind` a TypedDict.

    Raises:
        BadArtifact: it is not what was published.
    """
    key = layout.BUNDLES.key(version=published.version, path=name)
    data = store.read(key)
    _require_hash(data, published.files[name], store.locate(key))
    return codecs.read_mapping(data, store.locate(key), kind)


def fetch_bundle(store: Store, version: str | None = None, cache: Path | None = None) -> Path:
    """Bring a bundle to this machine, once; its hashes are checked every time.

    Args:
        store: where from.
        version: its name; None for the version that serves.
        cache: folder that keeps it; None for one in `cache.cache_folder()`.

    Returns:
        the bundle's folder.

    Raises:
        BadInput: nothing is published, or the store has no such version.
        BadArtifact: a file in the store is not what was published, or the version is not signed where it must be.
    """
    wanted = version or require_current(store).version
    published = read_signed(store, wanted)
    where = f"{store.uri}, {wanted}"
    require_vouched(published.bundle_files, where)
    folder = cache or cache_folder() / "bundles"
    with caching(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / wanted
    if target.is_symlink():  # what it leads to is not ours to remove
        target.unlink()
    if target.exists() and not _is_whole(target, published, where):
        shutil.rmtree(target)
    if target.exists():
        return target
    with held_folder(folder, ".~") as made:
        beside = made / wanted
        with caching(beside):
            beside.mkdir(mode=0o700)
            _download(store, published, beside, where)
        _require_version(beside, wanted)
        try:
            beside.rename(target)
        except OSError:  # another process was first; what it brought is checked like our own
            check_files(target, published.bundle_files)
    return target


def _upload(store: Store, published: PublishedVersion, contents: Mapping[str, bytes]) -> PublishedVersion:
    """Put what is missing of a version, the manifest last, and return the manifest that stands."""
    whole = layout.BUNDLES.key(version=published.version, path=MANIFEST)
    if store.read_tagged(whole) is None:
        for name, digest in published.files.items():
            key = layout.BUNDLES.key(version=published.version, path=name)
            if not store.put_if_absent(key, contents[name]):
                _require_same(store, key, digest)
        store.put_if_absent(whole, codecs.as_json(asdict(published)))
    stored = read_version(store, published.version)
    if stored.bundle_files != published.bundle_files:
        where = store.locate(layout.BUNDLES.prefix(version=published.version))
        raise BadArtifact(
            f"A version must keep its content, got other files under the same name ({where}). "
            "Calibrate again, so that the bundle gets a version of its own."
        )
    _sign(store, published)
    return stored


def _sign(store: Store, published: PublishedVersion) -> None:
    """Sign the manifest that stands, where a key is configured.

    Raises:
        BadArtifact: it is not the one that this publisher makes, or the signature is not a trusted key's.
    """
    if signatures.is_signing():
        found, data, key = _read_manifest(store, published.version)
        standing = store.read_tagged(key + signatures.SUFFIX)
        signature = signatures.sign(data, standing.data if standing else None)
        if standing is None or signature != standing.data:
            if found != published:
                raise BadArtifact(
                    "A manifest that is signed must be the one that its publisher makes, got one with other papers or "
                    f"facts ({store.locate(key)}). Publish with the evaluation that it was published with, or remove "
                    "that version from the store first."
                )
            store.compare_and_swap(key + signatures.SUFFIX, signature, standing.tag if standing else None)
    read_signed(store, published.version)


def _require_same(store: Store, key: str, digest: str) -> None:
    found = hashlib.sha256(store.read(key)).hexdigest()
    if found != digest:
        raise BadArtifact(
            f"A published file must have the hash {digest[:12]}, got {found[:12]} ({store.locate(key)}). "
            "A version never changes: calibrate again, so that the bundle gets a version of its own."
        )


def _require_fitting(store: Store, published: PublishedVersion, current: Current | None) -> None:
    """Refuse a bundle of another task, and a rehearsal over what was learned from bought answers."""
    require_same_card(store, published.card, current)
    if published.is_rehearsal and not published.is_forced:
        require_rehearsal_serves(store, published.version, current)


def _published(store: Store, published: PublishedVersion, current: Current | None) -> Current:
    """Return the pointer once a version is published; unchanged when it serves already."""
    if current is not None and current.version == published.version:
        return current
    _require_fitting(store, published, current)
    if current is None:
        return _pointer(published, previous=None, generation=1)
    return _pointer(published, current.version, current.generation + 1)


def _pointer(published: PublishedVersion, previous: str | None, generation: int) -> Current:
    return Current(
        version=published.version,
        previous=previous,
        generation=generation,
        published=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        card=published.card,
        card_hash=published.card_hash,
        report=layout.BUNDLES.key(version=published.version, path=f"{published.papers}/{REPORT}"),
        is_rehearsal=published.is_rehearsal,
        is_forced=published.is_forced,
    )


def _rollback_target(store: Store, current: Current, to: str | None) -> PublishedVersion:
    target = to or current.previous
    if target is None:
        raise BadInput(
            f"A rollback needs a version before {current.version}, got none ({store.locate(CURRENT)}). "
            "Nothing was changed."
        )
    if target == current.version:
        raise BadInput(f"A rollback must go to another version, got {target}, which serves ({store.locate(CURRENT)}).")
    published = read_signed(store, target)
    if to is None and published.is_rehearsal and not current.is_rehearsal:
        raise BadInput(
            f"A rollback must not go from bought answers to a rehearsal, got {target} ({store.locate(CURRENT)}). "
            f"Name it with --to {target} when you mean it."
        )
    return published


def _replaced_by(store: Store, version: str, current: Current) -> str | None:
    """Return what served before `version` first did, so that rollbacks one after another go ever further back."""
    states = [state for state in read_history(store) if state.version == version]
    return states[0].previous if states else current.version


def _swap(store: Store, change: Callable[[Current | None], Current]) -> Current:
    """Move `current.json` to what `change` makes of it, again when somebody else was first."""

    def write() -> Current:
        found = store.read_tagged(CURRENT)
        current = None if found is None else _current_of(found.data, store.locate(CURRENT))
        wanted = change(current)
        if current is not None:
            _keep(store, current)
        if wanted != current:
            if not store.compare_and_swap(CURRENT, codecs.as_json(asdict(wanted)), found.tag if found else None):
                raise Beaten
            _keep(store, wanted)
        return wanted

    return contend(write, "The pointer to the bundle that serves", store.locate(CURRENT))


def _keep(store: Store, state: Current) -> None:
    store.put_if_absent(layout.HISTORY.key(number=state.generation), codecs.as_json(asdict(state)))


def _is_whole(folder: Path, published: PublishedVersion, where: str) -> bool:
    """Whether a folder of the cache holds just the files of a bundle, none of them a link."""
    files = published.bundle_files
    there = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if any(path.is_symlink() for path in (folder, *folder.rglob("*"))) or len(there) != len(files):
        return False
    paths = {name: inside(folder, name, where) for name in files}
    return all(path.is_file() and hash_file(path) == files[name] for name, path in paths.items())


def _download(store: Store, published: PublishedVersion, folder: Path, where: str) -> None:
    for name in published.bundle_files:
        target = inside(folder, name, where)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = store.read(layout.BUNDLES.key(version=published.version, path=name))
        codecs.require_size(len(data), f"{where}/{name}", MOST_FILE_BYTES)
        target.write_bytes(data)
    check_files(folder, published.bundle_files)


def _require_hash(data: bytes, expected: str | None, where: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise codecs.unreadable("the file that was published", f"one of the hash {found[:12]}", where)


def _require_version(folder: Path, version: str) -> None:
    found = read_settings(folder)["version"]
    if found != version:
        raise codecs.unreadable(f"the bundle '{version}'", f"'{found}'", version)


def _papers_hash(papers: Mapping[str, bytes]) -> str:
    lines = [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in sorted(papers.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _safe_version(version: str) -> str:
    """Return the version once it is one that can name a folder."""
    if not PATTERNS["version"].fullmatch(version):
        raise BadInput(f"A version must be made of a-z, 0-9, - and ., got '{version}'. Take it from current.json.")
    return version


def _current_of(data: bytes, where: str) -> Current:
    current = codecs.read_as(Current, data, where)
    report = layout.BUNDLES.fields(current.report)
    if report is None or report["version"] != current.version:
        raise codecs.unreadable("the pointer to a version and its own report", f"'{current.report}'", where)
    return current
