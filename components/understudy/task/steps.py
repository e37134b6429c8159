"""List the steps: one entry a step, those of a pipeline together and in the order in which they run there.

A step is an entry here and a folder `steps/<name>/`. Its settings are a section of the card, its command is
`understudy <name>`, and its pod is what its entry says; a pipeline only has to wire it.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """What is known of a step without its code.

    Attributes:
        image: role of the image that it runs in, as runtime/images.yaml names it.
        cpu: cores that are kept for it, and the most that it may take.
        memory_mib: memory that is kept for it, and the most that it may take.
    """

    image: str
    cpu: tuple[str, str]
    memory_mib: tuple[int, int]


# A request is a step's peak on the demo's texts (`make benchmark-memory`; docs/log.md, "memory of the steps") and room
# for more of them; a limit is what a large card may need. Only train, export and the steps that score texts use more
# than one core. It lies in this room, below all that read it, as a card has a section for each step.
STEPS: Mapping[str, Step] = {
    "ingest": Step("analysis", ("500m", "2"), (512, 4096)),
    "label": Step("analysis", ("250m", "1"), (256, 1024)),
    "audit": Step("analysis", ("250m", "1"), (256, 1024)),
    "revise": Step("analysis", ("250m", "1"), (256, 1024)),
    "train": Step("train", ("2", "4"), (3072, 8192)),
    "export": Step("train", ("1", "2"), (2048, 6144)),
    "calibrate": Step("analysis", ("1", "2"), (512, 2048)),
    "evaluate": Step("analysis", ("1", "2"), (512, 2048)),
    "publish": Step("submit", ("100m", "1"), (128, 512)),
    "mine": Step("analysis", ("500m", "2"), (512, 2048)),
    "shard": Step("infer", ("250m", "1"), (128, 1024)),
    "infer": Step("infer", ("1", "2"), (512, 2048)),
    "index": Step("infer", ("250m", "1"), (256, 1024)),
    "watch": Step("analysis", ("250m", "1"), (256, 1024)),
    "sample": Step("analysis", ("250m", "1"), (256, 1024)),
}
