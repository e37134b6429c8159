"""Check a run before its first step, so that nobody pays for what cannot end well."""

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from understudy.data import cards
from understudy.errors import BadInput, BadSetting, StorageError, TeacherError, together
from understudy.steps.publish.config import PublishConfig
from understudy.store.address import Address, parse_address
from understudy.store.s3 import S3Store
from understudy.store.storage import Store, open_store, prepare_store
from understudy.task.card import Card
from understudy.task.sections import ColumnsConfig, TeacherConfig
from understudy.task.settings import Overrides, build_section, key_faults, parse_lines, sections

Check = Callable[[], Any]


def all_of(*checks: Check) -> list[Any]:
    """Run every check and return what they return; whatever is out of order is a fault, as nothing has begun.

    Raises:
        BadInput: the faults of all of them together.
        StorageError: the same, when one of them is an outage of a store: trying again may be of use.
        TeacherError: the same, when one of them is an outage of the teacher's server.
    """
    outages: list[StorageError | TeacherError] = []
    try:
        return together(*(partial(_faulted, check, outages) for check in checks))
    except BadInput as error:
        if outages:
            kind = StorageError if isinstance(outages[0], StorageError) else TeacherError
            raise kind(str(error)) from error
        raise


def _faulted(check: Check, outages: list[StorageError | TeacherError]) -> Any:
    try:
        return check()
    except (StorageError, TeacherError) as error:
        outages.append(error)
        raise BadInput(str(error)) from error


def with_card(address: str, checks_of: Callable[[Card | None], Iterable[Check]]) -> tuple[Card, list[Any]]:
    """Load the card and run every check; when it cannot be read, those that need none, for their faults beside its own.

    Args:
        address: of the card.
        checks_of: returns the checks, given the card; given None, those of all but the card.

    Returns:
        the card, and what the checks return.

    Raises:
        BadInput: the faults of all of them together.
        StorageError: the same, when a store is out of order.
        TeacherError: the same, when the teacher's server is.
    """
    try:
        card = check_card(address)
    except (BadInput, StorageError) as error:
        all_of(partial(_refuse, error), *checks_of(None))
        raise
    return card, all_of(*checks_of(card))


def _refuse(error: Exception) -> None:
    """Raise an error, as a check that has failed already."""
    raise error


def check_card(address: str) -> Card:
    """Load the card.

    Raises:
        BadCard: with every fault's line.
        StorageError: its store does not answer.
    """
    return cards.read(address)[0]


def check_settings(overrides: str, card: Card | None) -> None:
    """Check what --set says: keys, and values beside the card's own; without a card beside the defaults.

    Raises:
        BadSetting: with one sentence a fault.
    """
    given = parse_lines(overrides)
    faults = key_faults(given)
    faults += [fault for name in sections() for fault in _value_faults(name, Overrides(given).of(name), card)]
    if faults:
        raise BadSetting(faults)


def _value_faults(section: str, given: Mapping[str, Any], card: Card | None) -> list[str]:
    """Judge a section's settings together; then again without those found faulty, which may have hidden others."""
    written = card.section(section) if card else {}
    try:
        build_section(section, {**written, **given} if given else {}, f"--set {section}.")
    except BadSetting as error:
        found = error.faults
        named = {name for name in given for fault in found if re.search(rf"\b{re.escape(name)}\b", fault)}
        left = {name: value for name, value in given.items() if name not in named}
        return [*found, *(_value_faults(section, left, card) if named else [])]
    return []


def called_columns(overrides: str, card: Card | None, address: str) -> Mapping[str, str] | None:
    """Return what the files call our columns; what is wrong with these settings, `check_settings` says.

    Args:
        overrides: step.key=value lines.
        card: the task; None where the card has faults.
        address: of the card, of which the section columns is read then; None is returned where it cannot be.
    """
    written = card.section("columns") if card else cards.columns_said(address)
    if written is None:
        return None
    try:
        given = Overrides(parse_lines(overrides)).of("columns")
        columns: ColumnsConfig = build_section("columns", {**written, **given}, "columns.")
    except BadSetting:
        return {}
    return columns.called


def check_source(address: str, flag: str, columns: tuple[str, ...], called: Mapping[str, str] | None) -> None:
    """Check that there are files to read, and their columns where that is cheap.

    Args:
        address: of the files.
        flag: names them in messages.
        columns: that they must have; ids may be missing where there are texts.
        called: what the files call these, where it is another name; None where nobody knows: they are not looked for.

    Raises:
        BadInput: there is nothing, or what is there cannot serve.
    """
    place = parse_address(address, flag)
    if place.is_s3:
        _check_source_on_s3(place, address, flag)
        return
    from understudy.data.sources import opened

    columns = columns if called is not None else ()
    try:
        with opened(address, columns, ("text",), ("label",), called=called, makes_ids=True):
            return
    except OSError as error:
        raise BadInput(f"A source must be there and readable, got {error} ({flag}). Mend the address.") from error


def _check_source_on_s3(place: Address, address: str, flag: str) -> None:
    """Look for an object of that name, or for objects below it; a bucket alone means all that it holds."""
    key = place.key
    keys = S3Store(place.bucket, "").list(key)
    if not any(not key or name == key or name.startswith(f"{key}/") for name in keys):
        raise BadInput(f"A source must exist, got nothing at {address} ({flag}). Mend the address.")


def check_store(uri: str, card: Card | None, *, is_dry_run: bool = False) -> Store:
    """Check that a store can be written, and serves no other card.

    Args:
        uri: a folder, or `s3://bucket/prefix`.
        card: the task.
        is_dry_run: nothing will be written, so that it can be is not tried.

    Raises:
        BadInput: it cannot, or does.
        StorageError: its server is out of order.
    """
    from understudy.store import registry

    store = open_store(uri) if is_dry_run else prepare_store(uri)
    if card is not None:
        registry.require_same_card(store, card.name, registry.read_current(store))
    return store


def check_work(folder: Path) -> None:
    """Check that the folder of the runs can be made and written, without making it.

    Raises:
        BadInput: it cannot.
    """
    try:
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryDirectory(prefix=".~", dir=there):
            return
    except OSError as error:
        raise BadInput(
            f"The folder of the runs must be writable, got {error.strerror} ({folder}, --work). Name another."
        ) from error


def check_student(card: Card) -> None:
    """Check that the card's student is one of the known, a folder, or could be on the hub.

    Raises:
        BadSetting: it is none of these.
    """
    from understudy.model.architectures import require_student

    require_student(card.student)


def check_teacher(card: Card) -> bool:
    """Check that the teacher's server is there and takes the key, and tell whether it is a rehearsal.

    Raises:
        BadInput: no server, no key or a wrong one.
        TeacherError: the server answers, but is out of order.
    """
    from understudy.teacher.labeller import probe

    return probe(card, card.settings().of(TeacherConfig))


def check_rehearsal(store: Store, card: Card, overrides: str) -> None:
    """Check that a run with a rehearsal teacher may take the place of what serves.

    Raises:
        BadInput: what serves was learned from bought answers, and publish.force is not set.
    """
    from understudy.store import registry

    if not card.settings(Overrides.parse(overrides)).of(PublishConfig).force:
        registry.require_rehearsal_serves(store, "a run with a rehearsal teacher", registry.read_current(store))
