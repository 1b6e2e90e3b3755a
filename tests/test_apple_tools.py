"""The stand-ins for Apple's tools, called by delocate's own functions."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from delocate import tools

from extlib_repair.binary import codesign, macho_fat
from extlib_repair.binary.macho_file import MachO
from extlib_repair.engines import apple_tools
from extlib_repair.model import Signature

if TYPE_CHECKING:
    from collections.abc import Sequence

FIXTURES = Path(__file__).parent / "fixtures" / "macho"
BUILD = "/build/deps/openblas-0.3.30/lib"
SYSTEM = "/usr/lib/libSystem.B.dylib"
PROVIDED, PRIVATE = "@rpath/libprov.dylib", "@rpath/libpriv.dylib"


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_run", apple_tools.run)


@pytest.fixture
def put(tmp_path: Path) -> Put:
    return Put(tmp_path)


class Put:
    """Writes fixtures, and other bytes, into a folder with an awkward name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a (b): c"
        self.folder.mkdir()

    def __call__(self, name: str, data: bytes | None = None) -> str:
        path = self.folder / name
        if data is None:
            data = lzma.decompress((FIXTURES / f"{name}.xz").read_bytes())
        path.write_bytes(data)
        return str(path)


def test_what_files_need_is_read_slice_by_slice(put: Put) -> None:
    assert tools._get_install_names(put("chained_arm64.so")) == {"": [SYSTEM, PROVIDED, PRIVATE]}
    assert tools._get_install_names(put("fat.so")) == {
        "x86_64": [SYSTEM, PROVIDED],
        "arm64": [SYSTEM, PROVIDED, PRIVATE],
    }
    assert tools._get_install_names(put("libprov.dylib")) == {"arm64": [SYSTEM], "x86_64": [SYSTEM]}
    reexporting = put("libreexporting.dylib")
    assert set(tools._get_install_names(reexporting)["arm64"]) == {SYSTEM, PROVIDED}


def test_install_names_are_read_slice_by_slice(put: Put) -> None:
    assert tools._get_install_ids(put("libpriv.dylib")) == {"arm64": PRIVATE, "x86_64": PRIVATE}
    assert tools._get_install_ids(put("fat.so")) == {}
    assert tools._get_install_ids(put("ready.so")) == {}


def test_run_paths_are_read_slice_by_slice(put: Put) -> None:
    assert tools._get_rpaths(put("ready.so")) == {"": ["@loader_path/../prov/lib", BUILD]}
    assert tools._get_rpaths(put("fat.so")) == {"x86_64": ["@loader_path"], "arm64": [BUILD]}
    assert tools._get_rpaths(put("libprov.dylib")) == {"arm64": [], "x86_64": []}


def test_architectures(put: Put) -> None:
    assert tools.get_archs(put("fat.so")) == {"x86_64", "arm64"}
    assert tools.get_archs(put("ready.so")) == {"arm64"}
    assert tools.get_archs(put("text", b"no object")) == set()


def archive() -> bytes:
    """Return a static library in a fat file."""
    rows = (0x01000007, 3, 4096, 8, 12)
    header = b"\xca\xfe\xba\xbe" + b"".join(n.to_bytes(4, "big") for n in (1, *rows))
    return header.ljust(4096, b"\0") + macho_fat.ARCHIVE


@pytest.mark.parametrize("data", [bytes.fromhex("cafebabe00000041"), archive()])
def test_files_that_only_look_like_it_are_not_objects(data: bytes, put: Put) -> None:
    path = put("file", data)

    assert tools._get_install_names(path) == {}
    assert tools._get_rpaths(path) == {}


def test_a_fat_static_library_has_architectures(put: Put) -> None:
    assert tools.get_archs(put("lib.a", archive())) == {"x86_64"}


def test_a_damaged_file_is_an_error_and_not_taken_for_something_else(put: Put) -> None:
    path = put("cut.so", b"\xcf\xfa\xed\xfe" + bytes(9))

    with pytest.raises(RuntimeError, match=r"cut\.so: the Mach-O file ends"):
        tools._get_install_names(path)


def test_without_a_check_a_failure_is_told_as_a_process_would(put: Put) -> None:
    done = apple_tools.run(["codesign", "--verify", put("text", b"no object")], check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("text: not a Mach-O file\n")


def read(path: str) -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return {
        part.arch: (part.name, tuple(d.name for d in part.dylibs), part.rpaths)
        for part in macho_fat.slices(Path(path).read_bytes())
        if isinstance(part, MachO)
    }


def test_a_needed_name_is_changed_in_every_slice_that_has_it(put: Put) -> None:
    path = put("fat.so")

    tools.set_install_name(path, PRIVATE, "@loader_path/.dylibs/libpriv.dylib")

    assert read(path) == {
        "x86_64": ("", (SYSTEM, PROVIDED), ("@loader_path",)),
        "arm64": ("", (SYSTEM, PROVIDED, "@loader_path/.dylibs/libpriv.dylib"), (BUILD,)),
    }
    assert codesign.problems(Path(path).read_bytes()) == ()


def test_an_install_name_is_changed(put: Put) -> None:
    path = put("libpriv.dylib")

    tools.set_install_id(path, "/DLC/demo/.dylibs/libpriv.dylib")
    tools.validate_signature(path)

    assert {name for name, _, _ in read(path).values()} == {"/DLC/demo/.dylibs/libpriv.dylib"}


def test_run_paths_are_added_once(put: Put) -> None:
    path = put("fat.so")

    tools.add_rpath(path, "@loader_path/../lib")

    assert [paths[-1] for _, _, paths in read(path).values()] == ["@loader_path/../lib"] * 2
    with pytest.raises(RuntimeError, match=r"already has LC_RPATH for: @loader_path/\.\./lib"):
        tools.add_rpath(path, "@loader_path/../lib")


@pytest.mark.filterwarnings("ignore:This function has been replaced:DeprecationWarning")
def test_a_run_path_is_deleted_from_the_slices_that_have_it(put: Put) -> None:
    path = put("fat.so")

    tools._remove_absolute_rpaths(path)

    assert [paths for _, _, paths in read(path).values()] == [(), ()]
    with pytest.raises(RuntimeError, match="no LC_RPATH load command with path: /x"):
        tools._delete_rpaths(path, ["/x"])


def test_a_header_without_room_is_refused_with_the_numbers(put: Put) -> None:
    path = put("crowded_arm64.so")
    before = Path(path).read_bytes()

    with pytest.raises(RuntimeError, match=r"need \d+ bytes more.* 32 bytes.*headerpad"):
        tools.set_install_name(path, PRIVATE, "@loader_path/" + "long/" * 20 + "libpriv.dylib")

    assert Path(path).read_bytes() == before


def broken(data: bytes) -> bytes:
    """Return a signed file with one other byte in its code."""
    at = MachO(data).content_start
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def signature(path: str) -> Signature:
    return codesign.kind(MachO(Path(path).read_bytes()))


def test_a_valid_signature_is_left_alone_and_a_broken_one_replaced(put: Put) -> None:
    good = put("chained_arm64.so")
    valid = Path(good).read_bytes()
    bad = put("bad.so", broken(valid))

    tools.validate_signature(good)
    tools.replace_signature(good, "-")
    assert Path(good).read_bytes() == valid
    tools.validate_signature(bad)
    assert Path(bad).read_bytes() != broken(valid)
    assert codesign.problems(Path(bad).read_bytes()) == ()


def test_a_broken_signature_is_no_obstacle_to_an_edit(put: Put) -> None:
    bad = put("bad.so", broken(Path(put("chained_arm64.so")).read_bytes()))

    tools.set_install_name(bad, PRIVATE, "@loader_path/libpriv.dylib")

    assert codesign.problems(Path(bad).read_bytes()) == ()


def test_what_is_not_signed_gets_a_signature_only_where_it_must_have_one(put: Put) -> None:
    intel, apple = put("bare_loader_path.so"), put("unsigned_arm64.so")
    for path in (intel, apple):
        tools.validate_signature(path)
        assert signature(path) is Signature.NONE

        tools.replace_signature(path, "-")

    assert signature(intel) is Signature.NONE
    assert signature(apple) is Signature.AD_HOC


@pytest.mark.parametrize(
    "command",
    [
        ["otool", "-L"],
        ["otool", "-arch", "all", "-m", "-h"],
        ["install_name_tool", "-rpath", "a", "b"],
        ["lipo", "-thin", "arm64"],
        ["codesign", "--remove-signature"],
    ],
)
def test_what_delocate_never_asks_for_is_refused_by_name(command: Sequence[str], put: Put) -> None:
    with pytest.raises(RuntimeError, match=f"no stand-in for: {' '.join(command)}"):
        apple_tools.run([*command, put("ready.so")], check=True)
