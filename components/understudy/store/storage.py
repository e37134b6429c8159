"""Open a store, a folder or an S3 bucket, and prove that it keeps its conditions."""

from understudy.errors import BadInput
from understudy.store.address import parse_address
from understudy.store.base import Beaten, Store, contend, copy, update
from understudy.store.folder import FolderStore
from understudy.store.leftovers import sweep_temporary
from understudy.store.s3 import MARKER, S3Store, new_marker, prove

__all__ = ["Beaten", "Store", "contend", "copy", "open_store", "prepare_store", "split_uri", "update"]


def open_store(uri: str, option: str = "--store") -> Store:
    """Open a store without touching it.

    Args:
        uri: a folder, or `s3://bucket/prefix`.
        option: what it was given as, in messages.

    Raises:
        BadInput: the address has another scheme, or names no bucket.
    """
    address = parse_address(uri, option)
    return S3Store(address.bucket, address.key) if address.path is None else FolderStore(address.path)


def prepare_store(uri: str, *, must_exist: bool = False) -> Store:
    """Open a store to write in it, and prove first that it can be, before anything is spent on what goes into it.

    Args:
        uri: a folder, or `s3://bucket/prefix`.
        must_exist: refuse a store that nothing was written to yet; else it is made.

    Raises:
        BadInput: the bucket is missing or forbidden, the folder cannot be written, or the server does not keep the
            conditions of writes.
        StorageError: the server is not there or out of order.
    """
    store = open_store(uri)
    if must_exist and store.read_tagged(MARKER) is None and not store.list():
        raise BadInput(f"A store must exist, got nothing ({store.uri}). Mend its address (--store).")
    if isinstance(store, S3Store):
        prove(store)
    else:
        store.put_if_absent(MARKER, new_marker(is_proven=False))
        store.remove_leftovers()
    sweep_temporary()
    return store


def split_uri(uri: str, option: str = "the address") -> tuple[Store, str]:
    """Split the address of one object into its store and key.

    Raises:
        BadInput: the address cannot be, or names a bucket alone.
    """
    address = parse_address(uri, option)
    if address.path is not None:
        return FolderStore(address.path.parent), address.path.name
    parent, _, name = address.key.rpartition("/")
    if not name:
        raise BadInput(f"An address must name an object, got the bucket '{uri}' ({option}). Write s3://bucket/key.")
    return S3Store(address.bucket, parent), name
