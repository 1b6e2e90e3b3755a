"""The script that takes the place of an executable. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extlib_repair.model import Member

_STARTER = """\
#!python
import os
import sys

program = {program!r}
for folder in sys.path[1:]:
    found = os.path.join(folder, *program.split("/"))
    if os.path.isfile(found):
        os.execv(found, sys.argv)
sys.exit("cannot start " + program + ": no folder of sys.path holds it")
"""


def starter(program: Member) -> bytes:
    """Return the script that starts an executable which was moved below site-packages.

    Installers put the right interpreter into its first line. ``sys.path[0]`` is the folder of the
    script itself.
    """
    return _STARTER.format(program=str(program)).encode()
