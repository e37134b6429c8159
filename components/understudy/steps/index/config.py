"""Define the settings of the step index: those of the search index that it fills."""

from understudy.search.settings import IndexConfig

__all__ = ["IndexConfig"]
