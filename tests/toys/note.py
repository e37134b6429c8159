"""What every toy step does first."""

import os
import time
from pathlib import Path

from understudy.errors import BadData


def note(step):
    """Note that a step ran; sleep or fail when the environment asks this step to."""
    if "TOY_LOG" in os.environ:
        with Path(os.environ["TOY_LOG"]).open("a") as file:
            file.write(f"{step}\n")
    print(f"noise of {step}", flush=True)
    if os.environ.get("TOY_SLEEP") == step:
        time.sleep(60)
    if os.environ.get("TOY_NAP") == step:
        print(f"{step}: halfway through", flush=True)
        time.sleep(1.5)
    if os.environ.get("TOY_FAIL") == step:
        raise BadData(f"A toy must work, got TOY_FAIL ({step}). Unset it.")
    if os.environ.get("TOY_CRASH") == step:
        raise ZeroDivisionError("a defect")
