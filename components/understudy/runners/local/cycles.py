"""Run a training again and again on this machine, with the queues answered from a file in between.

Each cycle is a run of its own, `<name>-cycle-1` and on, so that a kill costs one step at most: with --resume the loop
goes on where it was. It ends before its time where the standing says so, or where nothing is left to ask people.
"""

import re
from dataclasses import replace

from understudy.errors import BadInput
from understudy.review import labels, simulated, standing
from understudy.runners.local import run as local
from understudy.runners.names import new_name
from understudy.runners.outcome import REFUSED
from understudy.runners.request import Request
from understudy.runners.runs import ENDED_FILE, RECORD_FILE
from understudy.runners.terminal import say
from understudy.steps.mine.forecast import review_s
from understudy.store import codecs, cycles
from understudy.store.runs import PUBLISH
from understudy.store.storage import Store, open_store
from understudy.task.card import Card
from understudy.text.numbers import count

NUMBERED = re.compile(r"-cycle-\d+$")


def run(request: Request, most: int) -> int:
    """Run up to so many cycles of a training.

    Args:
        request: of a training; `answers` is what simulated reviewers answer queues from, and `name` the loop's, whose
            cycles bear it with their number.
        most: cycles.

    Returns:
        the exit code of the last cycle, as `local.run` has them.

    Raises:
        BadInput: it is no training, a dry run, there are no answers, or a loop to resume is not named.
    """
    _require(request)
    one = replace(request, answers="", resume=False)
    card = local.check(one)
    base = NUMBERED.sub("", request.name or new_name(card))
    say(f"Loop: {base}, {count(most, 'cycle')} at most")
    code = 0
    for number in range(1, most + 1):
        say(f"Cycle {number} of {most}")
        code = _cycle(replace(one, name=f"{base}-cycle-{number}"), is_resumed=request.resume)
        if code not in {0, REFUSED}:
            return code
        if request.resume and _is_begun(replace(one, name=f"{base}-cycle-{number + 1}")):
            continue  # its queue was answered before that
        lines, is_over = _after(open_store(request.store), card, request.answers, is_last=number == most)
        for line in lines:
            say(line)
        if is_over:
            break
    return code


def _require(request: Request) -> None:
    if request.pipeline != "training":
        raise BadInput(f"--cycles must be of training, got {request.pipeline}. Leave it out.")
    if request.dry_run:  # a loop answers queues, and a dry run leaves the store as it is
        raise BadInput("--dry-run must be of one training, got --cycles. Leave out --cycles and --answers.")
    if not request.answers:
        raise BadInput(
            "A loop must be given what simulated reviewers answer, got none (--answers). Name a file with label, and "
            "id or text; where people answer, start each training when its queue is answered."
        )
    if request.resume and not request.name:
        raise BadInput("A loop that is resumed must be named, got no --name. Give the name that it began with.")


def _is_begun(request: Request) -> bool:
    return (request.work / str(request.name) / RECORD_FILE).is_file()


def _cycle(request: Request, *, is_resumed: bool) -> int:
    """Run a cycle, go on with one that was begun, or return how one ended."""
    folder = request.work / str(request.name)
    if is_resumed and (folder / ENDED_FILE).is_file():
        decision = codecs.read_document(folder / ENDED_FILE, "run").get("decision", "")
        say(f"{request.name} has ended ({decision or 'done'})")
        return 0 if decision in ("", PUBLISH) else REFUSED
    return local.run(replace(request, resume=is_resumed and _is_begun(request)))


def _after(store: Store, card: Card, answers: str, *, is_last: bool) -> tuple[list[str], bool]:
    """Have the queue of a cycle answered where the loop goes on; where it stands, in lines, and whether it is over."""
    recorded = cycles.read_all(store, card.name)
    label_usd = review_s(labels.seconds_measured(store, card.name))[0] / 3600 * card.prices.annotator_usd_per_hour
    stands = standing.read(store, card, label_usd)
    lines, stop = ([], "") if stands is None else (stands.lines(), stands.stop)
    queue = recorded[-1].queue if recorded else ""
    if stop or is_last or not queue:
        why = stop or ("all cycles have run" if is_last else "nothing is queued for people")
        return [*lines, f"The loop ends: {why}"], True
    answered = simulated.answer(store, card, queue, answers)
    lacking = f"; {answered.lacking:,} that {answers} lacks" if answered.lacking else ""
    told = f"Simulated reviewers answered {count(answered.texts, 'text')} of the queue {queue}{lacking}"
    return [*lines, told], False
