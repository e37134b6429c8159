"""Sign what a published version says of itself, and check who did, by keys that cosign reads.

    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out signing.pem
    openssl pkey -in signing.pem -pubout -out trusted.pem
    cosign verify-blob --key trusted.pem --signature manifest.json.sig --insecure-ignore-tlog manifest.json

What is signed is the version's manifest, which holds the SHA-256 of each of its files: ECDSA on P-256 over SHA-256, in
base64, as cosign signs a blob. Whoever can write the store, but has no key, can then no longer put a model of their own
into service. An older version that was signed stays signed.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import BadArtifact, BadInput
from understudy.secrets.keys import LARGEST_FILE, remember

if TYPE_CHECKING:  # the library is in the images; who configures no key needs none of it
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

SIGNING_KEY, TRUSTED_KEYS = "UNDERSTUDY_SIGNING_KEY", "UNDERSTUDY_TRUSTED_KEYS"
SUFFIX = ".sig"
PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)
ADVICE = "Make one by `openssl ecparam -name prime256v1 -genkey`, unencrypted (docs/security.md)."


def is_signing() -> bool:
    """Tell whether what is published here is signed: whether a key is configured."""
    return bool(_configured(SIGNING_KEY))


def sign(data: bytes, standing: bytes | None) -> bytes:
    """Sign data with the key that UNDERSTUDY_SIGNING_KEY holds, or the file that UNDERSTUDY_SIGNING_KEY_FILE names.

    Args:
        data: to sign.
        standing: a signature that is there already.

    Returns:
        the signature in base64, the standing one if it is this key's.

    Raises:
        BadInput: the key is none on P-256, or is encrypted.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    pem = _configured(SIGNING_KEY)
    remember(pem.decode(errors="replace"))
    key = _private(pem)
    if standing is not None and _has_signed(key.public_key(), data, standing):
        return standing
    return base64.b64encode(key.sign(data, ECDSA(SHA256())))


def is_checked() -> bool:
    """Tell whether signatures are checked here: whether keys are configured that are trusted."""
    return bool(_configured(TRUSTED_KEYS))


def is_trusted(data: bytes, signature: bytes) -> bool:
    """Tell whether one of the keys of UNDERSTUDY_TRUSTED_KEYS, or of the file that it names, has signed data.

    Raises:
        BadInput: what is configured holds no public key on P-256.
    """
    return any(_has_signed(key, data, signature) for key in _public(_configured(TRUSTED_KEYS)))


def require_trusted(data: bytes, signature: bytes | None, what: str, where: str) -> None:
    """Refuse what nobody has signed whose key is trusted.

    Args:
        data: what is signed.
        signature: of it; None when there is none.
        what: is refused, as the message begins.
        where: it lies.

    Raises:
        BadArtifact: there is no signature, or none by a trusted key.
    """
    if signature is None or not is_trusted(data, signature):
        got = "none" if signature is None else "one of another key, or of other content"
        raise BadArtifact(
            f"{what} must be signed by a key of {TRUSTED_KEYS}, got {got} ({where}). Publish it again where "
            f"{SIGNING_KEY} is, or roll back to a version that is signed."
        )


def _has_signed(key: "EllipticCurvePublicKey", data: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(base64.b64decode(signature, validate=True), data, ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _configured(name: str) -> bytes:
    """Read PEM blocks from a variable, or from the file that `<name>_FILE` names; empty when there are none."""
    if value := os.environ.get(name, "").strip():
        return value.encode()
    if not (path := os.environ.get(f"{name}_FILE")):
        return b""
    try:
        with Path(path).open("rb") as file:
            pem = file.read(LARGEST_FILE).strip()
    except OSError as error:
        raise BadInput(
            f"The file of a key must be readable, got {type(error).__name__} ({name}_FILE). Mend its path."
        ) from error
    if not pem:
        raise _no_key("A file of keys", f"{name}_FILE")  # nothing to check by must not pass for nothing to check
    return pem


def _private(pem: bytes) -> "EllipticCurvePrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key("A private key", SIGNING_KEY) from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise _no_key("A private key", SIGNING_KEY)
    return key


def _public(pem: bytes) -> Iterator["EllipticCurvePublicKey"]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    blocks = PEM.findall(pem)
    if not blocks:
        raise _no_key("A public key", TRUSTED_KEYS)
    for block in blocks:
        try:
            key: Any = load_pem_public_key(block)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _no_key("A public key", TRUSTED_KEYS) from error
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise _no_key("A public key", TRUSTED_KEYS)
        yield key


def _no_key(what: str, where: str) -> BadInput:
    return BadInput(f"{what} must be a PEM block of an EC key on P-256, got something else ({where}). {ADVICE}")
