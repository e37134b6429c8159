"""A training pipeline of toy steps."""

from kfp import dsl, kubernetes
from understudy.steps.decide.component import decide
from understudy.steps.double.component import double
from understudy.steps.gather.component import gather
from understudy.steps.ship.component import ship


def training(card: str, texts: str, labels: str, store: str, overrides: str = ""):
    """Wire the toy steps."""
    data = gather(card=card, texts=texts, labels=labels, store=store, overrides=overrides).outputs
    doubled = double(card=data["snapshot"], numbers=data["numbers"], store=store, overrides=overrides)
    kubernetes.use_secret_as_env(doubled, "nowhere", {"key": "TOY_SECRET"})
    kubernetes.add_pod_label(doubled, "toy/label", "true")
    decided = decide(doubled=doubled.outputs["doubled"], overrides=overrides)
    with dsl.If(decided.outputs["Output"] == "publish", name="decided"):
        ship(evaluation=decided.outputs["evaluation"], page=decided.outputs["page"], store=store)
