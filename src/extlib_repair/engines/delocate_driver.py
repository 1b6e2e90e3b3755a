"""Runs inside a child process, and only there: adjusts delocate, then calls its ``main``.

    python -P -m extlib_repair.engines.delocate_driver NAME... -- OPTION... WHEEL

What delocate's command line cannot say:

* Libraries that a provider supplies (NAME) stay out, by the whole file name, whether they can be
  found or not. delocate's own ``--exclude`` is a substring test on paths that can switch the whole
  repair off, and fails all the same when the library is absent (matthew-brett/delocate#207).
* On a host without Apple's tools, :mod:`extlib_repair.engines.apple_tools` stands in for them.

Outside of the versions that this was tested with, delocate runs as it is, and that is said.
"""

from __future__ import annotations

import importlib
import inspect
import posixpath
import shutil
import sys
from typing import TYPE_CHECKING

from extlib_repair.engines import apple_tools
from extlib_repair.engines.delocate import NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

TESTED = ("0.13.0",)

_COMMAND = "delocate.cmd.delocate_wheel"
_TOOLS = "delocate.tools"
_WALK = "delocate.libsana"
_EXPECTED = (
    (_TOOLS, "_run", ("cmd", "check")),
    (_WALK, "_get_install_names", ("filename",)),
    (_COMMAND, "main", ()),
)


def main(arguments: Sequence[str]) -> None:
    """Run delocate-wheel."""
    end = arguments.index("--")
    left_out, options = arguments[:end], arguments[end + 1 :]
    reason = unexpected()
    if reason:
        sys.stderr.write(f"{NOTICE}{reason}\n")
        options = [*plain(left_out), *options]
    else:
        leave_out(frozenset(left_out))
        if not all(map(shutil.which, apple_tools.NAMES)):
            replace(importlib.import_module(_TOOLS), "_run", apple_tools.run)
    sys.argv = ["delocate-wheel", *options]
    importlib.import_module(_COMMAND).main()


def unexpected() -> str:
    """Return why this delocate is left as it is, or the empty string."""
    version = importlib.import_module("delocate").__version__
    if version not in TESTED:
        return _as_it_is(version, f"{', '.join(TESTED)} was tested")
    for module, name, parameters in _EXPECTED:
        function = getattr(importlib.import_module(module), name, None)
        if function is None or tuple(inspect.signature(function).parameters) != parameters:
            return _as_it_is(version, f"{module}.{name} is not the expected one")
    return ""


def _as_it_is(version: str, reason: str) -> str:
    return (
        f"delocate {version} runs as it is ({reason}): it needs Apple's tools, and fails when a "
        "provided library cannot be found"
    )


def plain(left_out: Sequence[str]) -> list[str]:
    """Return delocate's options that come closest: the slash makes them ends of paths."""
    return [word for name in left_out for word in ("-e", f"/{name}")]


def leave_out(names: frozenset[str]) -> None:
    """Hide provided libraries from the walk over what binaries need.

    Changing names is done through another reference to the function, and sees them.
    """
    walk = importlib.import_module(_WALK)
    original: Callable[[str], dict[str, list[str]]] = walk._get_install_names  # noqa: SLF001

    def without_provided(filename: str) -> dict[str, list[str]]:
        return {
            arch: [n for n in needed if n not in names and posixpath.basename(n) not in names]
            for arch, needed in original(filename).items()
        }

    replace(walk, "_get_install_names", without_provided)


def replace(module: ModuleType, name: str, function: Callable[..., object]) -> None:
    """Give a module another function."""
    setattr(module, name, function)


if __name__ == "__main__":
    main(sys.argv[1:])
