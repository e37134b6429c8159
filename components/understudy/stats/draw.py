"""Draw by lot: a hash of a seed and a name, so that a rerun draws the same and the order of the rows plays no part.

A lot stays the same when the data grow, so a larger draw holds the smaller one, and answers that were bought for it are
of use again. What is drawn for two ends takes another word or day into the key: the lots say nothing of one another.
The keys are fixed: another one would draw other texts in every store that exists.
"""

import hashlib

DIGITS = 16  # hexadecimal ones of a lot that a share is read from


def lot(*key: object) -> str:
    """Draw a lot, 64 hexadecimal digits; lots are compared as text.

    Args:
        key: seed, what is drawn for, and the name of a text or group.

    >>> lot(7, "r-1") == lot("7:r-1")
    True
    """
    return hashlib.sha256(":".join(map(str, key)).encode("utf-8", "surrogatepass")).hexdigest()


def share(*key: object, digits: int = DIGITS) -> float:
    """Draw a number in [0, 1), evenly spread: what is below a share s happens to about that share of the names.

    Args:
        key: as of `lot`.
        digits: of the lot, 4 bits each.

    >>> 0 <= share(7, "r-1") < 1
    True
    """
    return int(lot(*key)[:digits], 16) / 16.0**digits
