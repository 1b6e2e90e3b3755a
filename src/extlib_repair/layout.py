"""Where the members of a wheel are installed, and how folders lie to each other.

All paths are relative, spelled with ``/``, and joined as a loader joins them: nothing asks the file
system, so that a symlinked folder cannot make a wrong answer look right.
"""

import re

from extlib_repair.model import Member, SitePath

_BELOW_SITE_PACKAGES = ("platlib", "purelib")
_SCHEME_DEPTH = 2
"""The parts of a member's path before its path in a scheme: ``NAME.data`` and the scheme."""


def installed(member: Member) -> SitePath | None:
    """Return the place of a member below site-packages, or None where it has no fixed one.

    ``NAME.data/platlib/...`` and ``NAME.data/purelib/...`` are spread to the root; the other
    schemes (scripts, data, headers) have no fixed relation to site-packages. Source:
    https://packaging.python.org/en/latest/specifications/binary-distribution-format/#the-data-directory
    """
    parts = member.split("/")
    if not parts[0].endswith(".data") or len(parts) == 1:
        return SitePath(member)
    if len(parts) > _SCHEME_DEPTH and parts[1] in _BELOW_SITE_PACKAGES:
        return SitePath("/".join(parts[_SCHEME_DEPTH:]))
    return None


def is_script(member: Member) -> bool:
    """Whether a member is installed beside the interpreter's programs."""
    parts = member.split("/")
    in_scheme = len(parts) == _SCHEME_DEPTH + 1
    return in_scheme and parts[0].endswith(".data") and parts[1] == "scripts"


def packages(place: SitePath) -> tuple[SitePath, ...]:
    """Return the folders around a file, the innermost first, without site-packages itself.

    >>> packages(SitePath("numpy/linalg/_umath_linalg.pyd"))
    ('numpy/linalg', 'numpy')
    """
    parts = place.split("/")[:-1]
    return tuple(SitePath("/".join(parts[:end])) for end in range(len(parts), 0, -1))


def module_folder(place: SitePath) -> SitePath:
    """Return the folder that Python would prefer to an extension module of the same name.

    >>> module_folder(SitePath("demo/_ext.cp312-win_amd64.pyd"))
    'demo/_ext'
    """
    head = place[: len(place) - len(basename(place))]
    return SitePath(f"{head}{basename(place).partition('.')[0]}")


REPAIR_HASH = re.compile(r"-([0-9a-f]{8})(?=\.)|-([0-9a-f]{32})(?=\.dll$)")
"""What auditwheel and delvewheel put into the names of what they copy."""

INIT = "__init__.py"
HOOK = "_distributor_init.py"
"""Where NumPy and SciPy let distributors put code that runs before any extension module."""


def loaded_before(place: SitePath) -> tuple[SitePath, ...]:
    """Return the Python files that, where they exist, run before a module at a place is loaded."""
    around = packages(place)
    hook = [SitePath(f"{around[-1]}/{HOOK}")] if around else []
    inits = [SitePath(f"{one}/{INIT}") for one in (module_folder(place), *around)]
    return (*inits, *hook)


def folder(path: str) -> SitePath:
    """Return the folder of a file."""
    return SitePath(path.rpartition("/")[0])


def basename(path: str) -> str:
    """Return the last part of a path."""
    return path.rpartition("/")[2]


def relative(origin: SitePath, target: SitePath) -> str:
    """Return the steps from one folder to another; ``""`` when they are the same.

    >>> relative(SitePath("numpy/linalg"), SitePath("scipy_openblas64/lib"))
    '../../scipy_openblas64/lib'
    >>> relative(SitePath("pkg"), SitePath("pkg"))
    ''
    """
    here, there = _parts(origin), _parts(target)
    common = 0
    while common < min(len(here), len(there)) and here[common] == there[common]:
        common += 1
    return "/".join([".."] * (len(here) - common) + there[common:])


def walk(origin: SitePath, steps: str) -> SitePath | None:
    """Follow relative steps from a folder; None when they leave site-packages on the way.

    >>> walk(SitePath("numpy/linalg"), "../../numpy.libs")
    'numpy.libs'
    >>> walk(SitePath("numpy"), "../..") is None
    True
    """
    place = _parts(origin)
    for step in _parts(SitePath(steps)):
        if step == "..":
            if not place:
                return None
            place.pop()
        elif step != ".":
            place.append(step)
    return SitePath("/".join(place))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
