"""A learner whose pairs are RankNet's, to compare with: any difference makes a pair, and there is no margin.

Source: Burges et al., "Learning to rank using gradient descent", 2005.
"""

import torch

from understudy.model.engine import Integers
from understudy.steps.train.learn import Learner


def ranknet_loss(logits: torch.Tensor, scores: torch.Tensor, sessions: torch.Tensor) -> torch.Tensor:
    """Mean of log(1 + exp(-lead)) over the pairs of a batch, where the lead is that of a label's logits.

    >>> two = torch.tensor([[0.0], [1.0]])
    >>> round(ranknet_loss(two, two, torch.tensor([0, 0])).item(), 4)  # log(1 + exp(-1))
    0.3133
    """
    is_pair = (scores[:, None] > scores[None]) & (sessions[:, None] == sessions[None])[:, :, None]
    lead = logits[:, None] - logits[None]
    return (torch.nn.functional.softplus(-lead) * is_pair).sum() / is_pair.sum().clamp(min=1)


class RankNetLearner(Learner):
    """The product's learner with another loss of pairs."""

    def _loss(self, logits: torch.Tensor, batch: Integers) -> torch.Tensor:
        sessions = self.stages[self.position.stage].sessions
        if sessions is None:
            return super()._loss(logits, batch)
        return ranknet_loss(logits, self.examples.targets[batch], torch.from_numpy(sessions[batch]))
