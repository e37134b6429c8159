"""Ask an advisory service about every package of an image: pip-audit, which must have had an answer for each.

python -m tools.advisories images/infer/requirements.txt...
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from understudy.errors import UnderstudyError
from understudy.runners.terminal import tell


def ask(file: Path, osv_url: str | None) -> list[dict[str, Any]]:
    """Return what the service says of each package in a file of hashed requirements.

    Args:
        file: requirements.
        osv_url: a service that speaks OSV's API; without one PyPI's is asked.

    Raises:
        UnderstudyError: the service did not answer.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    service = ["--vulnerability-service", "osv", "--osv-url", osv_url] if osv_url else []
    asked = [*command, *service, "--format", "json", "--requirement", str(file)]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError) as error:
        said = answer.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise UnderstudyError(
            f"The advisory service must answer, got: {said[0]} ({file}). Try again where it can be reached."
        ) from error
    return packages


def judge(file: Path, packages: Sequence[Mapping[str, Any]]) -> str:
    """Return the line that says that no advisory names a package of the file.

    Raises:
        UnderstudyError: one does, or the service had no answer for a package, which pip-audit alone lets pass.
    """
    unknown = [package["name"] for package in packages if "vulns" not in package]
    if unknown or not packages:
        raise UnderstudyError(
            f"The advisory service must know every package, got no answer for {len(unknown)} of {len(packages)}: "
            f"{', '.join(unknown[:3])}... ({file}). Nothing is proven; try again where the service can be reached."
        )
    found = [f"{package['name']} {package['version']}: {told(package)}" for package in packages if package["vulns"]]
    if found:
        raise UnderstudyError("\n".join([f"No package of {file} may have a known fault, got {len(found)}:", *found]))
    return f"{file}: no advisory names one of its {len(packages)} packages."


def told(package: Mapping[str, Any]) -> str:
    """Return the faults of a package, and which release mends each."""
    return "; ".join(
        f"{fault['id']} (mended in {', '.join(fault['fix_versions']) or 'none'})" for fault in package["vulns"]
    )


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--osv-url", metavar="URL", help="Ask this service, which speaks OSV's API, in the place of PyPI's.")
def main(files: tuple[Path, ...], osv_url: str | None) -> None:
    """Ask about every package of FILES, and say of each file what was found."""
    is_clean = True
    for file in files:
        try:
            tell(judge(file, ask(file, osv_url)))
        except UnderstudyError as error:
            tell(str(error))
            is_clean = False
    sys.exit(0 if is_clean else 1)


if __name__ == "__main__":
    main()
