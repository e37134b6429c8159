"""Write a commented card to start from."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from understudy.errors import BadSetting
from understudy.task.card import FEWEST_LABELS, QUESTION, parse_card
from understudy.text.signs import breaks_a_line

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
BEYOND = 0x10000  # the first sign that JSON's four digits cannot write
NUMBERED = re.compile(r"\d+|true|false", re.IGNORECASE)  # labels that say nothing to who does not know the file


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of a task before anybody has thought about it, such as from a file.

    Attributes:
        labels: what the files call them, in the order of the card; of two the last is the one that is looked for.
        is_many: whether a text may have several.
        columns: by our names, what the files call our columns, where it is another name.
        language: of the texts; None where it is not known.
        seen: sentences that stand at the card's head.
        origin: what named the labels, for messages.
    """

    labels: Sequence[str] = ()
    is_many: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    seen: Sequence[str] = ()
    origin: str = "--labels"


def new_card(name: str, labels: Sequence[str] = ()) -> str:
    """Return a card in which every key is explained; its task is to be written over.

    Args:
        name: the task's name, part of every key in the store.
        labels: two or more, in place of those of the example; of two the second is the one that is looked for.

    Raises:
        BadSetting: the name has other signs than a-z, 0-9 and -, begins or ends with -, or is too long.
        BadCard: the labels cannot be those of a card.
    """
    card = _named(name)
    return drafted_card(name, Draft(labels)) if labels else card


def drafted_card(name: str, draft: Draft) -> str:
    """Return a card that holds what is known of a task; each of the rest is a question, and no command takes it so.

    Raises:
        BadSetting: the name has other signs than a-z, 0-9 and -, begins or ends with -, or is too long.
        BadCard: the labels cannot be those of a card.
    """
    card = _with_task(_named(name), draft)
    for what, block in (
        ("columns", _columns(draft)),
        ("language", draft.language and f"  language: {draft.language}\n"),
    ):
        card = _with_commented(card, what, block) if block else card
    parse_card(card, draft.origin, is_draft=True)
    seen = "".join(f"# {''.join('?' if breaks_a_line(sign) else sign for sign in line)}\n" for line in draft.seen)
    return f"{seen}#\n{card}" if seen else card


def _named(name: str) -> str:
    if not NAME.fullmatch(name):
        raise BadSetting(f"A name must be 1 to 63 of a-z, 0-9 and -, with no - at its ends, got '{name}' (--name).")
    is_plain = yaml.safe_load(name) == name  # 2024 and null are names too, but YAML reads something else in them
    return TEMPLATE.replace("<name>", name if is_plain else f'"{name}"')


def _with_task(card: str, draft: Draft) -> str:
    """Put labels and questions in the place of the example's, and take out what was said of these."""
    names = [_label_name(label) for label in draft.labels] or [
        f"{QUESTION} what is the {place} label called?" for place in ("first", "second")
    ]
    is_pair = len(names) == FEWEST_LABELS and not draft.is_many
    written = map(_label, names, draft.labels or names)
    changes = {
        "labels": f"labels:\n{''.join(written)}",
        "labels_per_text": f"labels_per_text: {'many' if draft.is_many else 'one'}\n",
        "positive_label": f"positive_label: {_quoted(names[-1]) if is_pair else 'null'}\n",
        "unit": "unit: text  # (default) what one text is, in the teacher's prompt and on pages\n",
        "question": f"question: {'Which of these apply to' if draft.is_many else 'Which of these is'} this text?"
        "  # what is asked about each text\n",
        "rules": f'rules:\n  - "{QUESTION} how does a careful stranger decide the hard cases? One rule on a line."\n',
        "weak_rules": "weak_rules: []  # such as {name: asks, pattern: '^(ask|try) ', label: one of the above}\n",
        "slices": "slices: []\n",
        "must": "must: []\n",
    }
    for key, block in changes.items():
        card = _with_block(card, key, block)
    if not is_pair:
        card = card.replace("  f1: 0.75 ", "  f1: null ").replace("  macro_f1: null ", "  macro_f1: 0.75 ")
    return card


def _label_name(label: str) -> str:
    """Return what a label is to be called: a question where the files only number it: that tells a teacher nothing."""
    return f"{QUESTION} what do your files mean by {label}?" if NUMBERED.fullmatch(label) else label


def _label(name: str, own: str) -> str:
    aliases = f"    aliases: [{_quoted(own)}]\n" if name != own else ""
    asked = _quoted(
        f"{QUESTION} which texts are meant{f' by {own}' if own == name and not own.startswith(QUESTION) else ''}?"
    )
    return f"  - name: {_quoted(name)}\n    definition: {asked}\n    examples: []\n{aliases}"


def _quoted(name: str) -> str:
    """Write a name in double quotes; signs that YAML takes in none are written by their numbers."""
    shown = json.dumps(name, ensure_ascii=False)
    return "".join(f"\\u{ord(sign):04x}" if ord(sign) < BEYOND and breaks_a_line(sign) else sign for sign in shown)


def _columns(draft: Draft) -> str:
    lines = [f"  {name}: {_quoted(own)}\n" for name, own in draft.columns.items()]
    return "".join(["columns:  # what your files call them\n", *lines]) if lines else ""


def _with_commented(card: str, what: str, block: str) -> str:
    """Put a block in the place of the template's section that is a comment, or of its line."""
    lines = card.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if re.match(rf"(# |  ){what}:", line))
    last = next(number for number in range(first + 1, len(lines)) if not lines[number].startswith("#   "))
    return "".join([*lines[:first], block, *lines[last:]])


def _with_block(card: str, key: str, block: str) -> str:
    """Put a block in the place of a key's line and the indented ones below it."""
    lines = card.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{key}:"))
    last = next(number for number in range(first + 1, len(lines)) if not lines[number].startswith(" "))
    return "".join([*lines[:first], block, *lines[last:]])


TEMPLATE = """\
# A task card: everything that Understudy needs to know about one task. `understudy card check FILE` reports all faults
# at once, each with its line. Keys marked (default) may be left out.

name: <name>  # a-z, 0-9 and -, at most 63 signs; never change it: splits, labels and bundles are kept under it
unit: sentence  # (default: text) what one text is, in the teacher's prompt and on pages
question: Is this sentence a tip for other travellers?  # what is asked about each text

# The answers, two to 500. The order is the order of every array of scores.
labels:
  - name: other
    definition: Everything that is no tip.
    examples: []  # (default: none) texts that show what is meant; the teacher sees them
  - name: tip
    definition: Advice that another traveller can act on.
    examples:
      - Ask for a room that looks onto the courtyard.
    aliases: []  # (default: none) what your files call it, such as [1, true]
# (default: one) How many of them a text gets. With many each label is a yes or no of its own: a text may have several
# or none. In files they then stand in one cell, as praise; tip or ["praise", "tip"], and [] is a text with none.
labels_per_text: one
# The label that is looked for, which f1, precision, recall and the threshold are about. It must be named with two
# labels; with more, leave it out where all matter alike: a text then gets its likeliest label.
positive_label: tip

# Rules come before labels: how a careful stranger decides the hard cases. They go into the teacher's prompt and onto
# the page of the people who label. Rewrite them for your task, then label twenty texts and see which rule is missing.
rules:
  - A wish to the hotel ("they should fix the lift") is not a tip, because no traveller can act on it.
  - A warning to stay away from something is a tip, even when it gives no reason.
  - Praise or blame alone is not a tip; praise with what to do about it is.

# (default: none) Patterns (regular expressions, case ignored; no look-around, no back-references) that hint at a label
# before anyone was asked: they balance the first set of texts for the teacher, and are a baseline in the report. The
# first that matches decides.
weak_rules:
  - name: asks-or-brings
    pattern: '^(ask|bring|book|take|try|avoid)\\b'
    label: tip

# (default: none) Parts of the texts that the audit and the report look at apart, each cut in exactly one way: by
# pattern, by length in words (min_words, max_words), or by a column of the texts file (column and equals).
slices:
  - name: avoid
    pattern: '\\bavoid'
  - name: short
    max_words: 6
  # - name: german
  #   column: language
  #   equals: de

# (default: none) Texts whose label a student must give, or it is neither published nor opened to serve.
# Those under alike say the same in another style and must get the same label; without a label it may be any, as long as
# it is one. They teach nobody: ingest takes them out of what teacher and student learn from.
must: []  # such as [{text: Avoid the breakfast., label: tip, alike: [AVOID the breakfast!!, avoid teh breakfast]}]

# (default: estimate) true share of the positive label, such as 0.1, or of each label, {other: 0.9, tip: 0.1}; estimate:
# as in the pool, by the teacher's answers and its mistakes, where that is told apart from the calibration split's
prior: estimate
# (default: none, every mistake costs 1) What it costs to give a text of a label another one. With costs a text gets the
# label that is cheapest to be wrong with, and no threshold is chosen.
confusion_costs: []  # such as [{label: tip, given: other, cost: 5}]
# (default: null) The turns before a text, within its group, that teacher, student and people are shown, in training and
# every night alike: for dialogues, where "okay." means nothing alone. The texts must then have a column group.
context: null  # such as {turns: 3}: at most 20 of them. {turns: 3, order: turn, words: 60} (words: default) takes them
# in the order of the column turn, else in that of the file, and keeps the last 60 words of them all
texts_per_month: 1000000  # (default) how many texts the classifier will read, for the cost arithmetic

# The LLM that labels, at any server that speaks the OpenAI chat API. Its key comes from OPENAI_API_KEY, not from here.
teacher:
  model: gpt-4.1-mini
  base_url: null  # (default) null is OpenAI's; else such as http://localhost:8000/v1
  # (default: anywhere) Where its server may stand. With in-house no text leaves: only loopback, private, link-local and
  # unique local addresses are asked, directly, past any proxy; all else is refused before anything is sent.
  place: anywhere
  # (default: {}) What is taken out of a text before it is sent, such as {kinds: [email, phone, card]}; own patterns by
  # the name that stands in their place: {patterns: {booking: 'BK\\d{6}'}} sends [BOOKING]. The dry run shows examples.
  redact: {}
  instructions: ""  # (default) more to say to the teacher, after the question, labels and rules
  # (default: none) A prompt bank: each text is asked in all of these wordings, which multiplies the price, and gets the
  # mean of their answers, such as [{name: plain}, {name: strict, instructions: Doubt is no tip., order: 1}]. What a
  # wording leaves out (instructions, rationale) is as said here; order is a seed that shuffles its prompt's labels.
  prompts: []
  input_usd_per_million: 0.4  # price of a million prompt tokens; null takes it from the dated list of prices
  output_usd_per_million: 1.6  # price of a million answer tokens; the list has the commonest models
  seconds_per_text: 1.2  # (default) how long it takes for one text, for the forecast of a run
  # How every step asks it (label, mine and sample); all of these are defaults, and --set teacher.concurrency=4 changes
  # one for a run.
  concurrency: 8  # most requests that are sent and not yet in the store; fewer on a server that is slow
  logprobs: true  # ask for log-probabilities, which become the teacher's probabilities where the server gives them
  rationale: false  # ask for a sentence of reason beside each label; about 30 tokens a text
  max_answer_tokens: 200  # raise it for models that think before they answer
  timeout_s: 60.0  # after so many seconds a server is slow, and fewer texts are asked at once
  max_tries: 6  # a text, when the server is busy or fails
  max_wait_s: 300.0  # longest Retry-After that is waited for
  max_failed_share: 0.05  # a step fails when a larger share of its texts has no answer
  flush_s: 5.0  # after so many seconds the store's small segments of answers are merged
  mode: chat  # batch orders all texts in batches of the server, which cost less and may take a day
  batch_price: 0.5  # share of the prices above that an answer in a batch costs
  batch_poll_s: 30.0  # seconds between two looks at a batch under way

# (default: none) Models beside the teacher, each with a budget of its own that it never passes: oracle, which mine asks
# in the teacher's place, and editor, which revises what the teacher gets wrong (step revise). Such as
#   editor: {model: gpt-4.1-nano, base_url: null, budget_usd: 1.0}
# with instructions, prices, seconds_per_text, place and redact as the teacher has them; what is not said of base_url,
# place and redact is the teacher's. docs/teachers.md says which environment variables hold its address and its key.
models: null

# English: minilm, distilbert, deberta-v3-small, flan-t5-small, ettin-17m, ettin-32m, ettin-68m, modernbert;
# many languages: multilingual-minilm, mmbert-small, mmbert-base; or a folder or hub name.
student: minilm  # (default)

budget:  # what learning the task may cost
  teacher_usd: 5.0  # most that all runs into one store pay the teacher together; it is never passed
  human_labels: 1000  # (default) how many labels people are ready to give

prices:  # (default) for the cost per 1,000 texts in the report
  instance_usd_per_hour: 0.085
  annotator_usd_per_hour: 25.0
  training_usd_per_hour: null  # of the instance that trains, where it is another one

# (default: none) What the student must reach on the human test split to be published; null asks nothing.
goals:
  f1: 0.75  # of the positive label
  recall: null
  macro_f1: null  # mean of the F1 of all labels
  micro_f1: null  # of all labels of all texts together, where labels_per_text is many
  accuracy: null  # share of texts with the right label, or with exactly the right ones
  labels: {}  # f1 and recall of single labels, such as {tip: {recall: 0.8}}
  p95_latency_ms: null  # 95% of single texts are answered within
  cost_per_1k_usd: null

# (default: all null) How many days what the nights leave stays in the store and the index, counted back from the newest
# night; null keeps it.
retention:
  predictions_days: null
  refusals_days: null
  samples_days: null

# (default: null) A Kubeflow Model Registry that is told of each version that publish lets serve, such as
# http://model-registry-service.kubeflow.svc.cluster.local:8080. Its token, if it wants one: MODEL_REGISTRY_TOKEN.
registry: null

# (default: none of them) A section for each step changes its settings; `understudy STEP --help` lists them, with those
# of other sections that the step reads.
ingest:
  test_share: 0.35
  split: none  # (default) sentences makes a text of each sentence, r1#1, r1#2 and so on of the text r1, in nights too
  language: en  # (default) of the texts, by whose rules sentences end
# label: {}
# audit: {}
# revise: {}
# train: {}
# export: {}
# calibrate: {}
# cascade:  # shared by export, calibrate and infer: the first stage, which settles obvious texts
#   max_missed: 0.005  # most of all texts that it may lose, as a share; 0 for no first stage
#   checked_share: 0.01  # of the texts that it settles, scored by the student too, for the watch
#   min_settled: 0.05  # share of all texts that it must settle to be worth its time
# columns:  # shared by all that read texts and labels: what your files call them, where not like this
#   id: id  # each text's name; a file without this column gets names made from the texts
#   text: text
#   label: label
#   group: group  # texts that belong together: a thread, an author
#   time: time
#   annotator: annotator
#   split: split
# evaluate: {}
# publish: {}
# mine: {}
# shard: {}
# infer: {}
# index: {}
# watch: {}
# sample: {}
"""
