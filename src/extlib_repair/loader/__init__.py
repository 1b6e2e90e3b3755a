"""The text put into consumers. It runs on the user's Python, which may be older than ours."""

from extlib_repair.loader.placement import Placement, Refusal, Shim, places
from extlib_repair.loader.scripts import starter
from extlib_repair.loader.source import comes_first, found, inserted
from extlib_repair.loader.text import Sought, Way, block, libraries, package

__all__ = [
    "Placement",
    "Refusal",
    "Shim",
    "Sought",
    "Way",
    "block",
    "comes_first",
    "found",
    "inserted",
    "libraries",
    "package",
    "places",
    "starter",
]
