"""Two and three runs at once on one store: one document a text, every person's answer, one payment, one cap."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.attack import kills, world
from tests.attack.figures import Counts
from tests.attack.forks import Command, Ended, apart, start

LIMIT_S = 120.0
SLOTS = 4
CAP_USD = 0.03  # buys about 150 of the 146 answers at what they cost, far fewer at the most that they can cost


def attack(place: Path, env: Mapping[str, str], *, is_long: bool) -> Counts:
    """Run nights, `labels add` and label at once, by twos and threes, on a folder and on S3."""
    counts = Counts()
    for number in (2, 3) if is_long else (3,):
        for where in ("folder", "s3"):
            folder = place / f"{where}{number}"
            uri, own = (f"s3://{env['ATTACK_BUCKET']}/at-once-{number}", env) if where == "s3" else ("", {})
            counts += _nights(folder / "night", uri and f"{uri}/night", own, number)
            counts += _answers(folder / "answers", uri and f"{uri}/answers", own, number)
    for number, where in ((2, "folder"), (3, "s3")):
        folder = place / f"money-{number}"
        uri, own = (f"s3://{env['ATTACK_BUCKET']}/money", env) if where == "s3" else (str(folder / "store"), {})
        counts += _labels(folder, uri, own, number)
    return counts


def _nights(folder: Path, uri: str, env: Mapping[str, str], number: int) -> Counts:
    """Run the night of one date several times at once."""
    command, check = kills.night(folder, uri or str(folder / "store"), env, 150)
    commands = [command(False, f"night-{one}") for one in range(number)]
    ended = at_once(commands, folder)
    return _told(f"{number} nights at once", ended, (0,)) + check()


def _answers(folder: Path, uri: str, env: Mapping[str, str], number: int) -> Counts:
    """Take several people's answers in at once."""
    uri = uri or str(folder / "store")
    case = kills.labels_case(folder, uri, env, 0)
    given = case.command(False).env
    commands, names = [], []
    for one in range(number):
        rows = [(f"p{one}-{row}", "tip", f"person-{one}") for row in range(50)]
        names += [name for name, *_ in rows]
        world.write_csv(folder / f"answers{one}.csv", ("id", "label", "annotator"), rows)
        words = ["understudy", "labels", "add", str(folder / f"answers{one}.csv"), "--store", uri]
        commands.append(Command(words, given, folder))
    ended = at_once(commands, folder)
    found = Counter(apart(kills._answered, uri, env=env))
    lost, doubled = len(set(names) - set(found)), sum(times - 1 for times in found.values())
    notes = [f"{number} labels add at once: {lost} answers lost, {doubled} doubled"][: lost + doubled]
    return _told(f"{number} labels add at once", ended, (0,)) + Counts(lost=lost, doubled=doubled, notes=notes)


def _labels(folder: Path, uri: str, env: Mapping[str, str], number: int) -> Counts:
    """Ask one teacher from several runs at once, under a cap that does not reach for all of them."""
    counts = Counts()
    for cap_usd in (5.0, CAP_USD):
        own = folder / f"cap-{cap_usd}"
        answers = world.label_inputs(own, 130, cap_usd)
        (own / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
        with world.teacher(own / "teacher", answers, 0.02) as teacher:
            commands = []
            for one in range(number):
                given = {**env, **teacher.env, "UNDERSTUDY_CACHE": str(own / f"cache{one}")}
                words = world.label_words(
                    own, f"{uri}-{cap_usd}", *kills.SETTINGS, "teacher.max_failed_share=1", name=f"judged{one}"
                )
                commands.append(Command(words, given, own))
            ended = at_once(commands, own)
            asked = teacher.asked()
        twice = len(asked) - len(set(asked))
        over = max(0.0, round(len(asked) * world.PRICE_USD - cap_usd, 6))
        told = f"{number} label runs at once, cap ${cap_usd}: {len(asked)} requests, {twice} twice, ${over} over"
        counts += Counts(paid_twice=twice, budget_overshoot_usd=over, notes=[told] if twice or over else [])
        counts += _told(f"{number} label runs at once", ended, (0,) if cap_usd > CAP_USD else (0, 1, 2))
    return counts


def at_once(commands: list[Command], folder: Path) -> list[Ended]:
    """Run commands at once, and wait for all of them."""
    children = [start(command, folder / f"sink{number}") for number, command in enumerate(commands)]
    until = time.monotonic() + LIMIT_S
    return [child.wait(max(1.0, until - time.monotonic() + LIMIT_S)) for child in children]


def _told(what: str, ended: list[Ended], codes: tuple[int, ...]) -> Counts:
    """Count the runs that ended otherwise than they may."""
    wrong = [one for one in ended if one.code not in codes or "Traceback" in one.err]
    notes = [f"{what}: exit code {one.code}: {one.err.strip()[-300:]}" for one in wrong]
    return Counts(wrong_codes=len(wrong), notes=notes)
