"""Let a whole process tree find the toy steps, and the toy pipeline in the place of the real one."""

from pathlib import Path

import understudy.steps
from tests import toys
from understudy import pipelines

HERE = Path(__file__).parents[1]
understudy.steps.__path__.append(str(HERE / "steps"))
pipelines.__path__.insert(0, str(HERE / "pipelines"))
toys.register()
