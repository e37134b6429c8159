"""Train a student in stages: deterministic, stopped by the validation split, resumable from a checkpoint."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from understudy.model import student
from understudy.model.calibration import odds_of
from understudy.model.engine import Floats, Integers
from understudy.stats.metrics import Codes, mean_average_precision
from understudy.steps.train import preference, rules
from understudy.steps.train.checkpoints import Checkpoint, Position, prefixed, unprefixed
from understudy.steps.train.config import TrainConfig
from understudy.steps.train.stages import Stage
from understudy.task.labels import LabelSpace

Tokens = Sequence[Sequence[int]]
Weights = dict[str, torch.Tensor]
TIMED_UPDATES, TIMED_S = 4, 4.0


@dataclass(frozen=True, slots=True)
class Examples:
    """Tokenised texts with what to learn of them: `targets` of shape (texts, labels), `weights` of shape (texts,)."""

    tokens: Tokens
    targets: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True, slots=True)
class Validation:
    """Tokenised texts with their human labels.

    Attributes:
        tokens: of the texts.
        codes: their labels, as `LabelSpace` has them.
        space: the labels; the average precision of its sides counts.
    """

    tokens: Tokens
    codes: Codes
    space: LabelSpace


def validation_score(logits: Floats, validation: Validation) -> float:
    """Mean average precision, one label against the rest, over the sides that occur; 0 where none does.

    Args:
        logits: of the student, shape (texts, labels).
        validation: what people say.

    >>> import numpy as np
    >>> held = Validation([], np.array([0, 1, 1]), LabelSpace(("praise", "tip", "blame")))
    >>> validation_score(np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 1.0, 0.0]]), held)
    1.0
    """
    return mean_average_precision(odds_of(logits, validation.space), validation.codes, validation.space.sides)


def losses(logits: torch.Tensor, targets: torch.Tensor, *, is_many: bool) -> torch.Tensor:
    """Cross-entropy of each text, shape (texts,): of its label, or the mean over labels that it each has or has not.

    Args:
        logits: of the student, shape (texts, labels).
        targets: probabilities of the labels, shape (texts, labels).
        is_many: whether a text may have several labels.

    >>> half = torch.tensor([[0.5, 0.5]])
    >>> [round(losses(torch.zeros(1, 2), half, is_many=is_many).item(), 4) for is_many in (False, True)]
    [0.6931, 0.6931]
    """
    if is_many:
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
    return -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1)


@dataclass(frozen=True, slots=True)
class Learned:
    """How the training went: the best `validation_score`, in which epoch (from 0), and all updates."""

    best_score: float
    best_epoch: int
    updates: int


def mean_with(mean: Weights, weights: Weights, epochs: int) -> Weights:
    """Take one more epoch's weights into the mean of those before it.

    Averaged weights lie in the middle of a flat region that the epochs only border, and err less on new texts.

    Args:
        mean: of the epochs before.
        weights: of this one.
        epochs: how many there were before; with none, the mean is this one's.

    >>> mean_with({"a": torch.tensor([1.0])}, {"a": torch.tensor([4.0])}, epochs=2)
    {'a': tensor([2.])}

    Source: Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, "Averaging weights leads to wider optima and better
    generalization", 2018.
    """
    return {name: mean[name] + (weight - mean[name]) / (epochs + 1) for name, weight in weights.items()}


def make_deterministic(seed: int) -> None:
    """Seed torch, and ask for deterministic kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


class Learner:
    """A student, its optimizer and its place in the training.

    Args:
        model: a classifier that returns logits of shape (texts, labels).
        pad_id: token that fills a batch.
        examples: what to learn.
        stages: in which order; each goes on from the weights that did best so far.
        validation: what decides when a stage ends, and which epoch of all is kept.
        config: the settings.
        device: where the model trains.
    """

    def __init__(
        self,
        model: Any,
        pad_id: int,
        examples: Examples,
        stages: Sequence[Stage],
        validation: Validation,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.model = model.to(device)
        self.pad_id, self.device = pad_id, device
        self.examples, self.stages, self.validation, self.config = examples, stages, validation, config
        model.get_input_embeddings().weight.requires_grad_(config.train_embeddings)
        self.trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.optimizer = self._fresh_optimizer()
        self.position, self._clock = Position(), time.monotonic()
        self.best = self.mean = self._weights()
        self.batches_of = [len(self._batches(stage)) for stage in stages]  # of each epoch, in every stage
        self.updates = sum(stage.epochs * batches for stage, batches in zip(stages, self.batches_of, strict=True))

    def run(self, keep: Callable[[Checkpoint], None], tell: Callable[[Position, float], None]) -> Learned:
        """Train to the end or until validation stops improving, and put the best weights into the model.

        Args:
            keep: takes a checkpoint, every `checkpoint_s` seconds.
            tell: takes the position and the loss after each update.
        """
        last_kept = self._clock = time.monotonic()
        while not self._is_over():
            batches = self._batches(self.stages[self.position.stage])
            while self.position.batch < len(batches):
                loss = self._learn(batches[self.position.batch])
                tell(self.position, loss)
                if time.monotonic() - last_kept >= self.config.checkpoint_s:
                    keep(self.checkpoint())
                    last_kept = time.monotonic()
            self._end_epoch()
        self.model.load_state_dict(self.best, strict=False)
        self._stop_clock()
        return Learned(self.position.best_score, self.position.best_epoch, self.position.update)

    def time_updates(self) -> list[float]:
        """Make the first updates and return how many seconds each took, but for the first, which warms up.

        A few of them, two at least, and none more once `TIMED_S` have passed: a machine that is busy is slow.
        """
        seconds: list[float] = []
        for batch in self._batches(self.stages[0])[: TIMED_UPDATES + 1]:
            started = time.perf_counter()
            self._learn(batch)
            seconds.append(time.perf_counter() - started)
            if len(seconds) > 1 and sum(seconds) > TIMED_S:
                break
        return seconds[1:] or seconds

    def checkpoint(self) -> Checkpoint:
        """Return all that another process needs to go on as if nothing had happened, or to give what came out."""
        has_ended = self._is_over()
        self._stop_clock()
        moments = {
            f"{name}/{key}": value
            for name, weight in self.trained.items()
            for key, value in self.optimizer.state.get(weight, {}).items()
        }
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state()
        parts = {"best": self.best, "random": random}
        if not has_ended:
            parts |= {"weights": self._weights(), "mean": self.mean, "moments": moments}
        tensors = {name: tensor for part, held in parts.items() for name, tensor in prefixed(part, held).items()}
        return Checkpoint(self.position, tensors, has_ended)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint of a training with the same inputs and settings."""
        self.model.load_state_dict(unprefixed("weights", checkpoint.tensors), strict=False)
        self.best, self.mean = (unprefixed(part, checkpoint.tensors) for part in ("best", "mean"))
        for name, weight in self.trained.items():
            held = unprefixed(f"moments/{name}", checkpoint.tensors)
            self.optimizer.state[weight] = {
                key: value if key == "step" else value.to(self.device) for key, value in held.items()
            }
        torch.set_rng_state(checkpoint.tensors["random/cpu"])
        if "random/cuda" in checkpoint.tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(checkpoint.tensors["random/cuda"])
        self.position = checkpoint.position

    def _stop_clock(self) -> None:
        """Count the seconds since it was last looked at."""
        now = time.monotonic()
        self.position = replace(self.position, seconds=self.position.seconds + now - self._clock)
        self._clock = now

    def _is_over(self) -> bool:
        return self.position.stage >= len(self.stages)

    def _batches(self, stage: Stage) -> list[Integers]:
        """Deal the texts of a stage out to the batches of the epoch at which the training stands."""
        lengths = [len(self.examples.tokens[row]) for row in stage.rows]
        limits = self.config.batch_tokens, self.config.seed, self.position.epoch
        if stage.sessions is None:
            dealt = rules.epoch_batches(lengths, *limits)
        else:
            dealt = preference.session_batches(lengths, stage.sessions[stage.rows], *limits)
        return [stage.rows[batch] for batch in dealt]

    def _fresh_optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(self.trained.values(), weight_decay=self.config.weight_decay)

    def _learn(self, batch: Integers) -> float:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        inputs = student.padded([self.examples.tokens[index] for index in batch], self.pad_id, self.device)
        logits = self.model(**inputs).logits
        loss = self._loss(logits.float(), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.position = replace(self.position, batch=self.position.batch + 1, update=self.position.update + 1)
        return float(loss.item())

    def _loss(self, logits: torch.Tensor, batch: Integers) -> torch.Tensor:
        """Return the loss of a batch as its stage has it: of the pairs, or the weighted mean of the labels'."""
        targets, weights = (part[batch].to(self.device) for part in (self.examples.targets, self.examples.weights))
        is_many, sessions = self.validation.space.is_many, self.stages[self.position.stage].sessions
        if sessions is not None:
            numbers = torch.from_numpy(sessions[batch]).to(self.device)
            return preference.preference_loss(logits, targets, numbers, self.config.pair_difference, is_many=is_many)
        return (losses(logits, targets, is_many=is_many) * weights).sum() / weights.sum()

    def _rate(self) -> float:
        """Return the learning rate at this update: each stage has a schedule of its own."""
        stage, position = self.stages[self.position.stage], self.position
        batches = self.batches_of[position.stage]
        update = position.stage_epoch * batches + position.batch
        return stage.rate * rules.rate_factor(update, batches * stage.epochs, self.config.warmup_share)

    def _end_epoch(self) -> None:
        """Keep the mean of the stage's epochs if none did better, and go on to the next epoch, or stage.

        An order of texts is no label yet: the stage of pairs hands on its mean, and validation does not rank it.
        """
        ended, weights = self.position, self._weights()
        self.mean = mean_with(self.mean, weights, ended.stage_epoch)
        self.model.load_state_dict(self.mean, strict=False)
        learned_pairs = self.stages[ended.stage].sessions is not None
        score = ended.best_score if learned_pairs else self._score()
        if learned_pairs or score > ended.best_score:
            ended = replace(ended, best_score=score, best_epoch=ended.epoch)
            self.best = self.mean
        self.position = replace(ended, epoch=ended.epoch + 1, stage_epoch=ended.stage_epoch + 1, batch=0)
        without_gain = min(self.position.stage_epoch, ended.epoch - ended.best_epoch)
        if self.position.stage_epoch >= self.stages[ended.stage].epochs or without_gain >= self.config.patience:
            self.position = replace(self.position, stage=ended.stage + 1, stage_epoch=0)
            self.optimizer, weights = self._fresh_optimizer(), self.best
        self.model.load_state_dict(weights, strict=False)

    def _score(self) -> float:
        return validation_score(student.logits(self.model, self.validation.tokens, self.pad_id), self.validation)

    def _weights(self) -> Weights:
        return {name: weight.detach().cpu().clone() for name, weight in self.trained.items()}
