"""Define the settings of the step audit."""

from dataclasses import dataclass

from understudy.task.settings import require


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """How the teacher is tested against people.

    Attributes:
        alpha: chance of calling any slice biased when none is, over all slices and all kinds of errors together.
        min_labels: fewest human labels of a kind in a slice; below it, what is not proven counts as too few to tell,
            and pairs of labels are not asked about.
        search_candidates: most cuts of the texts that each half of the search for hidden slices sends to the other half
            for confirmation; 0 searches none. Its chance of any false alarm is `alpha` once more.
        queue_per_slice: most texts that each bias of a slice sends to people.
        second_looks: most human labels that words, teacher and weak rules all contradict which are queued for a second
            look; 0 looks for none.
        examples: most texts shown for each kind of error.
        samples: resamples of the bootstrap.
        seed: of the bootstrap, of the order of the queue and of the folds.
    """

    alpha: float = 0.05
    min_labels: int = 10
    search_candidates: int = 5
    queue_per_slice: int = 200
    second_looks: int = 50
    examples: int = 20
    samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the rules that types cannot say."""
        require(0 < self.alpha < 1, f"alpha must be between 0 and 1, got {self.alpha}.")
        require(self.min_labels >= 1, f"min_labels must be at least 1, got {self.min_labels}.")
        require(self.search_candidates >= 0, f"search_candidates must be at least 0, got {self.search_candidates}.")
        require(self.queue_per_slice >= 0, f"queue_per_slice must be at least 0, got {self.queue_per_slice}.")
        require(self.second_looks >= 0, f"second_looks must be at least 0, got {self.second_looks}.")
        require(self.examples >= 0, f"examples must be at least 0, got {self.examples}.")
        require(self.seed >= 0, f"seed must be at least 0, got {self.seed}.")
        require(self.samples >= 100, f"samples must be at least 100, got {self.samples}.")
