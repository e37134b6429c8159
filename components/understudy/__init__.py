"""Understudy learns the part of the LLM that labels your texts, and goes on every night in its place.

From Python, `open_classifier` opens what a store serves and labels texts; it is imported when it is asked for, so that
`import understudy` costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.serving.classifier import Classifier, Labelled, open_classifier
else:  # unseen by type checkers, which would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'understudy' has no attribute '{name}'")
        return getattr(importlib.import_module("understudy.serving.classifier"), name)


__all__ = ["Classifier", "Labelled", "__version__", "open_classifier"]
__version__ = "0.1.0"

# Libraries of the model hub read HF_HUB_OFFLINE when they are loaded, so it is set before any of them. Where the user
# had set it to 0, `model.hub` may ask the hub, and nothing else may; processes that we start are told so.
os.environ.setdefault("UNDERSTUDY_DOWNLOADS", "1" if os.environ.get("HF_HUB_OFFLINE") in {"0", "false", "no"} else "0")
os.environ["HF_HUB_OFFLINE"] = "1"
