"""Sort faults of a store: what passes is a StorageError, what somebody must change a BadInput."""

import errno
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from understudy.errors import BadInput, StorageError, UnderstudyError, may_pass

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

ABSENT_CODES = {"NoSuchKey", "404", "NotFound"}
PASSING_CODES = {  # though their status is one of those that blame the request
    "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
    "RequestThrottledException", "TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded",
    "BandwidthLimitExceeded", "PriorRequestNotComplete", "OperationAborted", "ConditionalRequestConflict",
    "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "InternalError", "ServiceUnavailable",
}  # fmt: skip
CLOCK_CODES = {"RequestTimeTooSkewed", "RequestInTheRequestExpired", "RequestNotYetValid", "RequestExpired"}
FORBIDDEN_CODES = {
    "AccessDenied", "403", "Forbidden", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "401",
    "InvalidToken", "TokenRefreshRequired", "AllAccessDisabled", "AccountProblem",
    "XAdminUserNotFound",  # versitygw's word for an unknown access key
}  # fmt: skip
FULL_CODES = {"XMinioStorageFull", "InsufficientStorage", "507", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"}
UNKNOWN_CODES = {"NotImplemented", "501", "MethodNotAllowed", "405"}
MOST_SKEW_S = 300  # S3 itself allows 15 minutes
CHANGEABLE = {  # errors of the system that last until somebody changes rights, path or mount
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EINVAL, errno.EXDEV, errno.EMLINK,
}  # fmt: skip
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ROOM = "Make room, then run it again."


def explain_answer(error: "ClientError", bucket: str, where: str) -> UnderstudyError:
    """Say what an S3 server's refusal means.

    Args:
        error: boto3's.
        bucket: that was asked.
        where: the object's full address.
    """
    about: Any = error.response
    code = str(about.get("Error", {}).get("Code", "")) or "no code"
    status = int(about.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    skew_s = _skew_s(about)
    if code in CLOCK_CODES or (status in {400, 401, 403} and abs(skew_s) > MOST_SKEW_S):
        return StorageError(
            f"This machine's clock must be right, got '{code}' and {_told(skew_s)} ({where}). Set the clock."
        )
    if code in FULL_CODES or status == 507:
        return StorageError(f"The store must have room, got '{code}' ({where}). {ROOM}")
    if code in PASSING_CODES or status == 0 or may_pass(status):
        return StorageError(f"The store must answer, got '{code}' ({where}). Try again later.")
    said = str(about.get("Error", {}).get("Message", ""))[:200]
    return BadInput(_lasting(code, said, bucket, where))


def _lasting(code: str, said: str, bucket: str, where: str) -> str:
    """Say of a refusal that no second try mends what is to be changed."""
    if code == "NoSuchBucket":
        return f"The bucket must exist, got no bucket '{bucket}' (s3://{bucket}). Create it or mend the address."
    if code in FORBIDDEN_CODES:
        return (
            f"The bucket must be readable and writable, got '{code}' ({where}). "
            "Check the access key and its rights on the bucket."
        )
    if code in UNKNOWN_CODES:
        return (
            f"The store's server must know conditional writes and ranges, got '{code}' ({where}). Use a server that "
            "does (AWS S3, MinIO, Ceph, versitygw), or a folder."
        )
    return (
        f"The store must take the request, got '{code}': {said} ({where}). Mend the address, the region or the "
        "settings of S3."
    )


def _skew_s(about: Any) -> float:
    """Return how many seconds this clock is ahead of the server's; 0 where it does not say its time."""
    said = about.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        then = parsedate_to_datetime(said) if said else None
    except ValueError:
        return 0.0
    if then is None:
        return 0.0
    return (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()


def _told(skew_s: float) -> str:
    if abs(skew_s) <= MOST_SKEW_S:
        return "a time that the server does not take"
    return f"a clock {abs(skew_s) / 60:,.0f} minutes {'ahead of' if skew_s > 0 else 'behind'} the server's"


def explain_connection(error: "BotoCoreError", where: str) -> UnderstudyError:
    """Say what an error of boto3 itself means: no keys, no connection, or a request that cannot be."""
    from botocore import exceptions

    if isinstance(error, exceptions.EndpointConnectionError):
        return StorageError(f"The store must be reachable, got {error} ({where}). {_set_keys()}")
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return BadInput(f"The store must be reachable, got {error} ({where}). {_set_keys()}")
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return BadInput(
            f"The store's certificate must be trusted, got {error} ({where}). Name its authority in AWS_CA_BUNDLE."
        )
    if isinstance(error, _settled()):
        reason = " ".join(str(error).split())
        return BadInput(
            f"The address and settings of S3 must be ones that it takes, got {reason} ({where}). Mend them."
        )
    return StorageError(f"The store must answer, got {error} ({where}). Try again later.")


def _set_keys() -> str:
    return "Set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount the credentials."


def _settled() -> tuple[type[Exception], ...]:
    """List boto3's errors that no second try mends."""
    from botocore import exceptions

    return (
        exceptions.ParamValidationError, exceptions.SSOError, exceptions.ProfileNotFound, exceptions.InvalidRegionError,
        exceptions.ConfigParseError, exceptions.ConfigNotFound, exceptions.UnknownServiceError,
        exceptions.InvalidProxiesConfigError, exceptions.InvalidConfigError, exceptions.ProxyConnectionError,
        exceptions.UnsupportedSignatureVersionError, exceptions.UnknownEndpointError,
    )  # fmt: skip


def explain_os(error: OSError, what: str, where: str, remedy: str) -> UnderstudyError:
    """Say what an error of the system means for a file.

    Args:
        error: the system's.
        what: begins the sentence: "The store must be writable".
        where: the file's address.
        remedy: what to do about rights and paths.
    """
    reason = error.strerror or str(error) or os.strerror(error.errno or 0)
    if error.errno in FULL:
        return StorageError(f"{what}, got '{reason}' ({where}). {ROOM}")
    kind = BadInput if error.errno in CHANGEABLE else StorageError
    return kind(f"{what}, got '{reason}' ({where}). {remedy}")
