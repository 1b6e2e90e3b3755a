"""Which Python files get the loader's lines."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from facts import elf, members, wheel

from extlib_repair.loader import Placement, places
from extlib_repair.loader.hook import is_imported
from extlib_repair.model import Kind, Member, frozen_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAG = ".cp312-win_amd64.pyd"
HOOKED = b"from . import _distributor_init\n"
ONE = frozenset({"a.dll"})


def placed(
    importers: Sequence[str] | Mapping[str, str],
    files: Sequence[str] = (),
    sources: Mapping[str, bytes] | None = None,
    kind: Kind = Kind.EXTENSION_MODULE,
) -> Placement:
    """Place the loader for binaries that need ``a.dll``, or what stands by their names."""
    wants = importers if isinstance(importers, dict) else dict.fromkeys(importers, "a.dll")
    facts = wheel({m: elf(kind=kind) for m in wants}, files=files)
    found = frozen_mapping((Member(m), text) for m, text in (sources or {}).items())
    facts = dataclasses.replace(
        facts, sources=found, members=tuple(dict.fromkeys([*facts.members, *found]))
    )
    return places(facts, {Member(m): frozenset(names.split()) for m, names in wants.items()})


@pytest.mark.parametrize(
    ("importer", "files", "expected"),
    [
        ("a/_x.pyd", ["a/__init__.py"], "a/__init__.py"),
        ("a/b/_x.pyd", ["a/__init__.py", "a/b/__init__.py"], "a/b/__init__.py"),
        ("a/b/_x.pyd", ["a/__init__.py"], "a/__init__.py"),
        ("a/b/c/_x.pyd", ["a/__init__.py", "a/b/__init__.py"], "a/b/__init__.py"),
        ("ns/a/b/_x.pyd", ["ns/a/__init__.py"], "ns/a/__init__.py"),
        ("d-1.data/platlib/a/_x.pyd", ["a/__init__.py"], "a/__init__.py"),
        ("a/_x.pyd", ["d-1.data/purelib/a/__init__.py"], "d-1.data/purelib/a/__init__.py"),
        ("a/x.dll", ["a/__init__.py"], "a/__init__.py"),
        ("a/b/__init__.pyd", ["a/__init__.py", "a/b/__init__.py"], "a/__init__.py"),
        (
            "a/b/_x.pyd",
            ["a/__init__.py", "a/b/__init__.py", f"a/b/__init__{TAG}"],
            "a/__init__.py",
        ),
    ],
)
def test_the_nearest_package(importer: str, files: Sequence[str], expected: str) -> None:
    assert placed([importer], files) == Placement(
        files={Member(expected): ONE}, shims=(), refused={}
    )


def test_packages_get_what_their_own_importers_need() -> None:
    importers = {"a/_x.pyd": "x.dll", "a/_y.pyd": "y.dll x.dll", "a/b/_z.pyd": "z.dll"}

    found = placed(importers, ["a/__init__.py", "a/b/__init__.py", "c/__init__.py"])

    assert found.files == {
        "a/__init__.py": {"x.dll", "y.dll"},
        "a/b/__init__.py": {"z.dll"},
    }


def test_nothing_is_placed_for_nothing() -> None:
    assert placed([], ["a/__init__.py"]) == Placement(files={}, shims=(), refused={})


def test_the_hook_serves_the_whole_package() -> None:
    importers = {"a/_x.pyd": "x.dll", "a/b/c/_y.pyd": "y.dll", "e/_z.pyd": "z.dll"}
    files = ["a/b/c/__init__.py", "a/_distributor_init_local.py", "e/__init__.py"]
    sources = {"a/__init__.py": HOOKED, "a/_distributor_init.py": b""}

    assert placed(importers, files, sources).files == {
        "a/_distributor_init.py": {"x.dll", "y.dll"},
        "e/__init__.py": {"z.dll"},
    }


@pytest.mark.parametrize(
    ("files", "sources"),
    [
        (["a/_distributor_init.py"], {"a/__init__.py": b"import os\n"}),
        (["a/_distributor_init_local.py"], {"a/__init__.py": HOOKED}),
        (["a/__init__.py", "a/_distributor_init.py"], {}),
    ],
)
def test_a_hook_that_is_not_there_or_not_imported_is_none(
    files: Sequence[str], sources: Mapping[str, bytes]
) -> None:
    assert placed(["a/_x.pyd"], files, sources).files == {"a/__init__.py": ONE}


def test_a_hook_in_a_namespace_is_none() -> None:
    sources = {"ns/a/__init__.py": HOOKED, "ns/a/_distributor_init.py": b""}

    assert placed(["ns/a/_x.pyd"], sources=sources).files == {"ns/a/__init__.py": ONE}


@pytest.mark.parametrize(
    ("importer", "shim"),
    [
        (f"X{TAG}", "X/__init__.py"),
        ("X.pyd", "X/__init__.py"),
        ("X.abi3.so", "X/__init__.py"),
        (f"ns/X{TAG}", "ns/X/__init__.py"),
        (f"d-1.data/platlib/X{TAG}", "d-1.data/platlib/X/__init__.py"),
        (f"d-1.data/purelib/ns/X{TAG}", "d-1.data/purelib/ns/X/__init__.py"),
    ],
)
def test_a_module_in_no_package_gets_one(importer: str, shim: str) -> None:
    found = placed([importer], ["X/data.txt", "Xy.pyd", "ns/Xy/__init__.py", "X.pyi", "X.py"])

    (only,) = found.shims
    assert (only.member, only.module_file, only.names) == (shim, importer.rpartition("/")[2], ONE)
    assert not found.files
    assert not found.refused


def test_a_module_of_a_package_that_is_itself_an_extension_gets_one() -> None:
    (only,) = placed(["a/_x.pyd"], ["a/__init__.pyd", "a/__init__.py"]).shims

    assert only.member == "a/_x/__init__.py"


def test_the_shim_of_an_earlier_repair_is_used_again() -> None:
    assert placed([f"X{TAG}"], ["X/__init__.py"]).files == {"X/__init__.py": ONE}


@pytest.mark.parametrize(
    ("importer", "rival"),
    [
        (f"X{TAG}", "X.cp311-win_amd64.pyd"),
        (f"X{TAG}", "x.pyd"),
        (f"X{TAG}", "d-1.data/platlib/X.pyd"),
        (f"X{TAG}", "X/__init__.cp312-win_amd64.pyd"),
        (f"X{TAG}", "x/__init__.py"),
        (f"X{TAG}", "x/y/data.txt"),
        (f"ns/X{TAG}", "ns/x/__init__.py"),
        (f"ns/X{TAG}", "NS/X/__init__.py"),
    ],
)
def test_a_package_must_not_hide_or_join_others(importer: str, rival: str) -> None:
    found = placed([importer], [rival])

    assert rival.removeprefix("d-1.data/platlib/") in found.refused[Member(importer)].reason
    assert not found.files
    assert not found.shims


@pytest.mark.parametrize(
    ("importer", "reason", "hint"),
    [
        ("d-1.data/scripts/x.pyd", "outside site-packages", "into a package"),
        ("d-1.data/data/a/x.pyd", "outside site-packages", "into a package"),
        ("a/__init__.pyd", "Python prefers it to any __init__.py", "to _core and import it from"),
        (f"ns/a/__init__{TAG}", "Python prefers it", "rename"),
        ("a.libs/x.dll", "is no extension module", "__init__.py"),
    ],
)
def test_what_is_refused(importer: str, reason: str, hint: str) -> None:
    found = placed([importer], ["a/__init__.py", "b/__init__.py", "a.libs/__init__.txt"])

    refusal = found.refused[Member(importer)]
    assert reason in refusal.reason
    assert hint in refusal.hint
    assert not found.files
    assert not found.shims


def test_programs_are_refused_even_in_packages() -> None:
    found = placed(["a/x.exe"], ["a/__init__.py"], kind=Kind.EXECUTABLE)

    assert "is a program" in found.refused[Member("a/x.exe")].reason


def test_one_refusal_does_not_stop_the_others() -> None:
    found = placed(["a/_x.pyd", "b.libs/x.dll", "X.pyd"], ["a/__init__.py"])

    assert list(found.files) == ["a/__init__.py"]
    assert [shim.member for shim in found.shims] == ["X/__init__.py"]
    assert list(found.refused) == ["b.libs/x.dll"]
    assert members("X/__init__.py") == tuple(shim.member for shim in found.shims)


NUMPY = b"""
from ._globals import _NoValue

if __NUMPY_SETUP__:
    sys.stderr.write("Running from numpy source directory.")
else:
    # Allow distributors to run custom init code
    from . import _distributor_init

    try:
        from numpy.__config__ import show_config
    except ImportError as e:
        raise
"""


@pytest.mark.parametrize(
    "text",
    [
        NUMPY.decode(),
        "from . import _distributor_init\n",
        "from . import _distributor_init as hook, other\n",
        "from . import (\n    other,  # why\n    _distributor_init,\n)\n",
        "from numpy import other, _distributor_init\n",
        "from ._distributor_init import *\n",
        "from numpy._distributor_init import NUMPY_MKL\n",
        "import numpy._distributor_init\n",
        "import os, numpy._distributor_init as hook\n",
        "import os; from . import _distributor_init; del _distributor_init",
        "if a:\n    pass\nelif b:\n    if c:\n        from . import _distributor_init\n",
        "def f():\n    pass\nfrom . import _distributor_init\n",
        "try:\n    x\nexcept E:\n    x\nelse:\n    from . import _distributor_init\n",
        "# coding: latin-1\n# \xfc\nfrom . import _distributor_init\n",
        "\\\n\nfrom . import _distributor_init\n",
    ],
)
def test_a_hook_that_is_imported(text: str) -> None:
    assert is_imported(text.encode("latin-1"), "numpy")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# from . import _distributor_init\n",
        "'''\nfrom . import _distributor_init\n'''\n",
        "from . import _distributor_init_local\n",
        "from . import other as _distributor_init\n",
        "from .. import _distributor_init\n",
        "from .sub import _distributor_init\n",
        "from scipy import _distributor_init\n",
        "import scipy._distributor_init\n",
        "import os as numpy._distributor_init\n",
        "import _distributor_init\n",
        "from\n",
        "import\n",
        "_distributor_init\n",
        "()\n",
        "try:\n    from . import _distributor_init\nexcept ImportError:\n    pass\n",
        "try:\n    if x:\n        from . import _distributor_init\nfinally:\n    pass\n",
        "def f():\n    from . import _distributor_init\n",
        "class C:\n    from . import _distributor_init\n",
        "with suppress(ImportError):\n    from . import _distributor_init\n",
        "from . import _distributor_init; x = (\n",
        "x = '\xfc'\nfrom . import _distributor_init\n",
    ],
)
def test_a_hook_that_is_not_sure_to_be_imported(text: str) -> None:
    assert not is_imported(text.encode("latin-1"), "numpy")
