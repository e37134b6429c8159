"""Choose where a student trains, and check at the start that it can: an idle GPU costs what a busy one does."""

import torch

from understudy.errors import BadSetting
from understudy.progress import say
from understudy.runtime.machine import ACCELERATOR


def chosen(asked: str, given: str | None) -> torch.device:
    """Return the device to train on, after a first sum on it.

    Args:
        asked: the setting `device`: "auto", "cpu" or "gpu".
        given: name of the accelerator that the pod was given; None where it was given none.

    Raises:
        BadSetting: an accelerator was asked for or given, and torch cannot compute on it.
    """
    if asked == "cpu" and given:
        say(f"train: the pod was given {given}, which stays idle: train.device is cpu.")
    if asked == "cpu" or (asked == "auto" and not given and not torch.cuda.is_available()):
        return torch.device("cpu")
    try:
        torch.ones(8, device="cuda").sum().item()
    except (RuntimeError, AssertionError) as error:  # no driver, no such card, or a torch without CUDA
        who = f"given to the pod as {given}" if given else f"asked for, train.device={asked}"
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise BadSetting(
            f"A training must run on the accelerator that was {who}, got: {why} (train.device, {ACCELERATOR}). Start "
            "it where a GPU and its driver are, with a torch made for them, or set train.device=cpu."
        ) from error
    say(f"train: on {torch.cuda.get_device_name()}")
    return torch.device("cuda")
