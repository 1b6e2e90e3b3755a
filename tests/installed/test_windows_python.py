"""The workbench of the tests for Windows: what Wine's loader does, and what it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import mingw
import pytest
from mingw import LIBRARY, SYSTEM32_ONLY, WindowsWorkshop
from wine import MODULES, VERSION, WindowsPython, unix_path, windows_path

if TYPE_CHECKING:
    from pathlib import Path

ADD = "import os, sys; os.add_dll_directory(sys.argv[1]); "
PRELOAD = "import ctypes, sys; ctypes.WinDLL(sys.argv[1]); "
USE = "import _mod; print(_mod.ddot(), _mod.product(1, [6], [7]))"
RIGHT = "14.0 [42.0]\n"
NOT_FOUND = "ImportError: DLL load failed while importing _mod"
NO_SUCH_MODULE = 0xC06D007E & 0xFF
"""What the code for delay loads gives up with, as far as exit codes go here."""


@pytest.fixture
def site(tmp_path: Path, windows_workshop: WindowsWorkshop) -> Path:
    """A folder with one consumer, which nobody has repaired."""
    return with_module(tmp_path, windows_workshop.module("_mod", "DOT"))


def with_module(folder: Path, data: bytes) -> Path:
    (folder / "_mod.pyd").write_bytes(data)
    return folder


def provider_library(shop: WindowsWorkshop) -> Path:
    return shop.openblas / LIBRARY


def test_it_is_a_python_for_windows(windows: WindowsPython) -> None:
    done = windows.run("import sys; print(sys.platform, sys.winver, sys.version)")

    assert done.out.startswith(f"win32 3.12 {VERSION} ")
    assert "MSC" in done.out


def test_exit_codes_errors_and_arguments_pass(windows: WindowsPython, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys; print(sys.argv[1:], 'ä'); sys.exit('a\\nb')")

    done = windows.run([program, "a b", '"', tmp_path])

    assert (done.code, done.err) == (1, "a\nb\n")
    assert done.out == f"{['a b', chr(34), windows_path(tmp_path)]} ä\n"


def test_a_program_that_does_not_end_is_ended(windows: WindowsPython) -> None:
    with pytest.raises(pytest.fail.Exception, match="no answer from Wine within 2 s"):
        windows.run("import time; time.sleep(3600)", timeout=2)

    assert windows.run("print(1)").out == "1\n"


def test_the_modules_of_the_process_are_listed(windows: WindowsPython) -> None:
    done = windows.run(f"{MODULES}\nimport json; print(json.dumps(modules()))")

    found = [unix_path(path) for path in json.loads(done.out)]
    assert found[0] == str(windows.home / "python.exe")
    assert str(windows.libpython) in found
    assert str(windows.home / "DLLs" / "_ctypes.pyd") in found


def test_what_is_compiled_is_what_it_should_be(windows_workshop: WindowsWorkshop) -> None:
    plain = windows_workshop.module("_mod", "DOT")
    delayed = windows_workshop.module("_mod", "DOT", link=("delayed",))
    flagged = windows_workshop.module("_mod", "DOT", system32_only=True)
    limited = windows_workshop.module("_mod", "DOT", link=("openblas", "python3"))

    assert LIBRARY in mingw.imports(plain)
    assert "python312.dll" in mingw.imports(plain)
    assert mingw.imports(plain, delayed=True) == []
    assert LIBRARY not in mingw.imports(delayed)
    assert mingw.imports(delayed, delayed=True) == [LIBRARY]
    assert (mingw.load_flags(plain), mingw.load_flags(flagged)) == (0, SYSTEM32_ONLY)
    assert "python3.dll" in mingw.imports(limited)
    assert "python312.dll" not in mingw.imports(limited)
    assert len(mingw.exports(provider_library(windows_workshop).read_bytes())) > 8192


def test_an_unrepaired_consumer_does_not_find_the_provider(
    windows: WindowsPython, windows_site: Path, site: Path
) -> None:
    done = windows.run(USE, pythonpath=[site, windows_site])

    assert done.code == 1
    assert NOT_FOUND in done.err


def test_path_is_no_help(
    windows: WindowsPython, windows_workshop: WindowsWorkshop, site: Path
) -> None:
    path = windows_path(windows_workshop.openblas)
    done = windows.run(USE, pythonpath=[site], env={"WINEPATH": path})

    assert NOT_FOUND in done.err


def test_a_folder_that_is_added_is_searched(
    windows: WindowsPython, windows_workshop: WindowsWorkshop, site: Path
) -> None:
    done = windows.run(["-c", ADD + USE, windows_workshop.openblas], pythonpath=[site])

    assert done.out == RIGHT, done.err


def test_a_library_that_is_loaded_by_its_path_serves(
    windows: WindowsPython, windows_workshop: WindowsWorkshop, site: Path
) -> None:
    library = provider_library(windows_workshop)
    done = windows.run(["-c", PRELOAD + USE, library], pythonpath=[site])

    assert done.out == RIGHT, done.err


def test_the_provider_itself_loads_its_library_when_it_is_imported(
    windows: WindowsPython, windows_site: Path, site: Path
) -> None:
    done = windows.run(f"import scipy_openblas64; {USE}", pythonpath=[site, windows_site])

    assert done.out == RIGHT, done.err


def test_the_stable_abi_runs(
    windows: WindowsPython, windows_workshop: WindowsWorkshop, tmp_path: Path
) -> None:
    module = windows_workshop.module("_mod", "DOT", link=("openblas", "python3"))
    with_module(tmp_path, module)
    library = provider_library(windows_workshop)

    done = windows.run(["-c", PRELOAD + USE, library], pythonpath=[tmp_path])

    assert done.out == RIGHT, done.err


def test_private_libraries_run(
    windows: WindowsPython, windows_workshop: WindowsWorkshop, tmp_path: Path
) -> None:
    module = windows_workshop.module("_mod", "PRIVATE", "MIDDLE", link=("private", "middle"))
    with_module(tmp_path, module)
    program = (
        "import os, sys; [os.add_dll_directory(f) for f in sys.argv[1:]]\n"
        "import _mod; print(_mod.answer(), _mod.product(1, [6], [7]))"
    )
    folders = (windows_workshop.folder, windows_workshop.openblas)

    done = windows.run(["-c", program, *folders], pythonpath=[tmp_path])

    assert done.out == "41 [42.0]\n", done.err


@pytest.mark.parametrize("way", ["added", "loaded"])
def test_a_delay_loaded_library_is_not_searched_in_added_folders(
    way: str, windows: WindowsPython, windows_workshop: WindowsWorkshop, tmp_path: Path
) -> None:
    with_module(tmp_path, windows_workshop.module("_mod", "DOT", link=("delayed",)))
    library = provider_library(windows_workshop)
    command = [ADD, library.parent] if way == "added" else [PRELOAD, library]
    program = f"{command[0]}import _mod; print('imported', flush=True); {USE}"

    done = windows.run(["-c", program, command[1]], pythonpath=[tmp_path])

    if way == "loaded":
        assert done.out == f"imported\n{RIGHT}", done.err
    else:
        assert (done.out, done.code) == ("imported\n", NO_SUCH_MODULE)


def test_wine_does_not_heed_load_flags(
    windows: WindowsPython, windows_workshop: WindowsWorkshop, tmp_path: Path
) -> None:
    """Windows would not look into the folder: that the flags are cleared is seen in the file."""
    with_module(tmp_path, windows_workshop.module("_mod", "DOT", system32_only=True))

    done = windows.run(["-c", ADD + USE, windows_workshop.openblas], pythonpath=[tmp_path])

    assert done.out == RIGHT, done.err


def test_the_first_library_of_a_name_serves_all(
    windows: WindowsPython, windows_workshop: WindowsWorkshop, site: Path, tmp_path: Path
) -> None:
    fake = windows_workshop.fake(tmp_path / "fake")
    folder = windows_path(windows_workshop.openblas)
    program = (
        f"import ctypes, os, sys; ctypes.WinDLL(sys.argv[1]); os.add_dll_directory({folder!r})\n"
        f"import _mod; print(_mod.ddot(), _mod.config())\n{MODULES}\n"
        "print(*(path for path in modules() if 'openblas' in path), sep='\\n')"
    )

    done = windows.run(["-c", program, fake], pythonpath=[site])

    assert done.out == f"-1.0 fake\n{windows_path(fake)}\n", done.err


def test_a_library_beside_the_module_wins_over_added_folders(
    windows: WindowsPython, windows_workshop: WindowsWorkshop, site: Path
) -> None:
    windows_workshop.fake(site)
    program = f"{ADD}import _mod; print(_mod.config())"

    done = windows.run(["-c", program, windows_workshop.openblas], pythonpath=[site])

    assert done.out == "fake\n", done.err


@pytest.mark.parametrize("size", [0, 1000, 500_000])
def test_a_damaged_library_is_an_error(
    size: int, windows: WindowsPython, windows_workshop: WindowsWorkshop, tmp_path: Path
) -> None:
    damaged = tmp_path / LIBRARY
    damaged.write_bytes(provider_library(windows_workshop).read_bytes()[:size])

    done = windows.run(["-c", PRELOAD, damaged])

    assert done.code == 1
    assert "OSError" in done.err


def test_an_import_can_be_renamed_to_be_as_built(windows_workshop: WindowsWorkshop) -> None:
    for link in ("openblas", "delayed"):
        data = windows_workshop.module("_mod", "DOT", link=(link,))
        vendored = LIBRARY.replace(".dll", "-x.dll")
        short = mingw.renamed(data, LIBRARY, "blas.dll")

        found = mingw.imports(short, delayed=link == "delayed")
        assert "blas.dll" in found
        assert LIBRARY not in found
        assert mingw.renamed(data, vendored, LIBRARY) == data
