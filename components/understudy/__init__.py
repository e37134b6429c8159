"""Understudy learns the part of the LLM that labels your texts, and goes on every night in its place."""

import os

__version__ = "0.1.0"

# Libraries of the model hub read HF_HUB_OFFLINE when they are loaded, so it is set before any of them. Where the user
# had set it to 0, `model.hub` may ask the hub, and nothing else may; processes that we start are told so.
os.environ.setdefault("UNDERSTUDY_DOWNLOADS", "1" if os.environ.get("HF_HUB_OFFLINE") in {"0", "false", "no"} else "0")
os.environ["HF_HUB_OFFLINE"] = "1"
