"""Wheels: which files are taken for one, and what is read from them."""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
from archives import Part, make
from wheels import dist_info, make_wheel

from extlib_repair import metadata
from extlib_repair.errors import BadBinaryError, BadWheelError
from extlib_repair.model import Format, Kind, WheelName
from extlib_repair.wheelfile import WheelFile, parse_name

if TYPE_CHECKING:
    from pathlib import Path

LINUX = "cp311-cp311-linux_x86_64"


def elf_header(machine: int = 62) -> bytes:
    """Return an ELF file for 64 bits that is nothing but its header: a relocatable object."""
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    return ident + struct.pack("<HHIQQQIHHHHHH", 1, machine, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)


def archived(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return path


def refusal(path: Path) -> BadWheelError:
    with pytest.raises(BadWheelError) as caught:
        WheelFile(path)
    assert caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        "demo.whl",
        "demo-1.0.zip",
        "demo-1.0-py3-none.whl",
        "demo-one-py3-none-any.whl",
        "demo-1.0-x1-py3-none-any.whl",
        "de mo-1.0-py3-none-any.whl",
        "demo-1.0-1-2-py3-none-any.whl",
        "",
    ],
)
def test_other_file_names_are_refused(name: str) -> None:
    with pytest.raises(BadWheelError) as caught:
        parse_name(name)

    assert str(caught.value).startswith(f"{name} is not the name of a wheel: ")
    assert caught.value.hint == "NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl"


def test_a_file_name_is_taken_apart() -> None:
    name = parse_name("de_mo-1.0+a.b-2x-py2.py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl")

    assert name == WheelName(
        distribution="de_mo",
        version="1.0+a.b",
        build="2x",
        pythons=("py2", "py3"),
        abis=("none",),
        platforms=("manylinux1_x86_64", "manylinux_2_5_x86_64"),
    )
    assert name.filename == (
        "de_mo-1.0+a.b-2x-py2.py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl"
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path / f"demo-1.0-{LINUX}.whl")

    assert str(error).endswith("demo-1.0-cp311-cp311-linux_x86_64.whl: No such file or directory")
    assert str(error).startswith("cannot read ")
    assert error.hint == "is the path right?"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"demo-1.0-{LINUX}.whl"
    path.mkdir()

    assert str(refusal(path)) == f"{path} is a folder, not a wheel"


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"demo-1.0-{LINUX}.whl"
    path.write_text("text")

    assert str(refusal(path)) == f"{path.name} is not a zip archive"


@pytest.mark.parametrize("missing", ["METADATA", "WHEEL", "RECORD"])
def test_a_wheel_without_one_of_its_three_files_is_refused(missing: str, tmp_path: Path) -> None:
    names = [f"demo-1.0.dist-info/{n}" for n in ("METADATA", "WHEEL", "RECORD") if n != missing]
    path = archived(tmp_path / f"demo-1.0-{LINUX}.whl", *names)

    assert str(refusal(path)) == f"{path.name} has no demo-1.0.dist-info/{missing}"


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (["demo/__init__.py", "setup.py"], "none"),
        (["demo-1.0.dist-info"], "none"),
        (["a/demo-1.0.dist-info/METADATA"], "none"),
        (["demo-1.0.dist-info/"], "none"),
        (
            ["demo-1.0.dist-info/METADATA", "other-2.0.dist-info/METADATA"],
            "demo-1.0.dist-info, other-2.0.dist-info",
        ),
    ],
)
def test_a_wheel_has_one_dist_info_folder(names: list[str], listed: str, tmp_path: Path) -> None:
    path = archived(tmp_path / f"demo-1.0-{LINUX}.whl", *names)

    error = refusal(path)

    assert str(error) == f"{path.name} must hold one .dist-info folder, and holds {listed}"
    assert error.hint == "an sdist or a plain zip file is not a wheel"


@pytest.mark.parametrize(
    "folder", ["other-1.0.dist-info", "demo-2.0.dist-info", "demo.dist-info", ".dist-info"]
)
def test_another_name_in_the_archive_is_refused(folder: str, tmp_path: Path) -> None:
    path = archived(
        tmp_path / f"demo-1.0-{LINUX}.whl",
        *(f"{folder}/{name}" for name in ("METADATA", "WHEEL", "RECORD")),
    )

    assert str(refusal(path)) == f"{path.name} holds {folder}: the names do not agree"


@pytest.mark.parametrize(
    ("filename", "folder"),
    [
        ("De_Mo-1.0", "de.mo-1.0.dist-info"),
        ("demo-1.0", "demo-1.dist-info"),
        ("demo-1.0+a.b", "demo-1.0+a_b.dist-info"),
    ],
)
def test_other_spellings_of_the_same_name_are_taken(
    filename: str, folder: str, tmp_path: Path
) -> None:
    path = archived(
        tmp_path / f"{filename}-{LINUX}.whl",
        *(f"{folder}/{name}" for name in ("METADATA", "WHEEL", "RECORD")),
    )

    with WheelFile(path) as wheel:
        assert wheel.dist_info == folder


def test_a_refused_wheel_is_closed(tmp_path: Path) -> None:
    path = archived(tmp_path / f"demo-1.0-{LINUX}.whl", "demo.py")
    refusal(path)

    path.unlink()  # an open file cannot be deleted on Windows

    assert not path.exists()


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {})

    with WheelFile(path) as wheel, pytest.raises(BadWheelError) as caught:
        wheel.read("demo/gone.py")

    assert str(caught.value) == f"{path.name} has no demo/gone.py"


def test_the_line_for_record_is_that_of_the_content(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/a,b.txt": b"content\n", "demo/zeros": bytes(3 << 20)})

    with WheelFile(path, most_expansion=2000) as wheel:
        for entry in wheel.archive.entries:
            row = metadata.record_row(entry.name, wheel.read(entry.name))
            assert wheel.record_row(entry.name) == row
        with pytest.raises(BadWheelError, match="has no gone"):
            wheel.record_row("gone")


def test_the_limit_of_expansion_is_handed_on(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"zeros": bytes(65 << 20)})

    assert "times its size" in str(refusal(path))
    with WheelFile(path, most_expansion=2000) as wheel:
        assert wheel.name.version == "1.0"


def test_the_facts_of_a_wheel(tmp_path: Path) -> None:
    path = make_wheel(
        tmp_path,
        {
            "demo/__init__.py": b"print()\n",
            "demo/oddly.named": elf_header(),
            "demo/\u00e4.so": elf_header(183),
            "demo/text.so": b"no ELF\n",
            "demo/empty.so": b"",
            "de_mo-1.0.data/platlib/x/y.so": elf_header(),
            "de_mo-1.0.data/scripts/run": elf_header(),
        },
        name="de_mo",
        requires=["a>=1", "b ; extra == 'x'"],
    )

    with WheelFile(path) as wheel:
        facts = wheel.facts()

    assert facts.name.filename == path.name
    assert (facts.project, facts.dist_info) == ("de-mo", "de_mo-1.0.dist-info")
    assert facts.requirements == ("a>=1", "b ; extra == 'x'")
    assert facts.members == (
        "demo/__init__.py",
        "demo/oddly.named",
        "demo/\u00e4.so",
        "demo/text.so",
        "demo/empty.so",
        "de_mo-1.0.data/platlib/x/y.so",
        "de_mo-1.0.data/scripts/run",
        "de_mo-1.0.dist-info/METADATA",
        "de_mo-1.0.dist-info/WHEEL",
        "de_mo-1.0.dist-info/RECORD",
    )
    assert {member: image.arch for member, image in facts.image_map.items()} == {
        "demo/oddly.named": "x86_64",
        "demo/\u00e4.so": "aarch64",
        "de_mo-1.0.data/platlib/x/y.so": "x86_64",
        "de_mo-1.0.data/scripts/run": "x86_64",
    }
    assert {(i.format, i.kind) for i in facts.image_map.values()} == {(Format.ELF, Kind.OTHER)}


def test_folders_are_no_members(tmp_path: Path) -> None:
    path = tmp_path / f"demo-1.0-{LINUX}.whl"
    files = dist_info({}, "demo", "1.0", LINUX)
    parts = [Part(name=name.encode(), data=data) for name, data in files.items()]
    path.write_bytes(make(Part(name=b"demo/", data=b""), *parts))

    with WheelFile(path) as wheel:
        assert wheel.facts().members == tuple(files)


def test_a_damaged_binary_is_named(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo/good.so": elf_header(), "demo/bad": b"\x7fELF, cut off"})

    with WheelFile(path) as wheel, pytest.raises(BadBinaryError) as caught:
        wheel.facts()

    assert str(caught.value).startswith(f"{path.name}: demo/bad: ")
    assert caught.value.exit_code == 3


WINDOWS = "cp311-cp311-win_amd64"
BINARY = elf_header()


def test_the_python_files_in_front_of_binaries_are_read(tmp_path: Path) -> None:
    files = {
        "demo/__init__.py": b"top",
        "demo/_distributor_init.py": b"hook",
        "demo/sub/__init__.py": b"sub",
        "demo/sub/_distributor_init.py": b"no hook",
        "demo/sub/_e.bin": BINARY,
        "demo/sub/_e/__init__.py": b"in front of it",
        "demo/none/__init__.py": b"no binary",
        "demo-1.0.data/platlib/other/_e.bin": BINARY,
        "demo-1.0.data/purelib/other/__init__.py": b"other",
        "demo-1.0.data/scripts/tool": BINARY,
        "_top.bin": BINARY,
        "_top/__init__.py": b"in front of the top",
    }

    for tag in (WINDOWS, LINUX):
        with WheelFile(make_wheel(tmp_path, files, tag=tag)) as wheel:
            read = sorted(wheel.facts().sources.values())
        assert read == [
            b"hook",
            b"in front of it",
            b"in front of the top",
            b"other",
            b"sub",
            b"top",
        ]


PROGRAM = b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(20)


def test_windows_programs_are_data_in_wheels_for_other_systems(tmp_path: Path) -> None:
    for tag in (LINUX, "cp311-cp311-macosx_11_0_arm64", "py3-none-any"):
        with WheelFile(make_wheel(tmp_path, {"demo/t64.exe": PROGRAM}, tag=tag)) as wheel:
            assert dict(wheel.facts().binaries) == {}


@pytest.mark.parametrize("name", ["demo/_e.pyd", "demo/Lib.DLL"])
@pytest.mark.parametrize("content", [b"", b"no binary", b"MZ" + bytes(70)])
def test_what_windows_would_load_must_be_a_binary(
    name: str, content: bytes, tmp_path: Path
) -> None:
    with (
        WheelFile(make_wheel(tmp_path, {name: content}, tag=WINDOWS)) as wheel,
        pytest.raises(BadBinaryError) as caught,
    ):
        wheel.facts()

    assert name in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_member_that_does_not_unpack_is_named(tmp_path: Path) -> None:
    path = tmp_path / f"demo-1.0-{LINUX}.whl"
    files = dist_info({}, "demo", "1.0", LINUX)
    parts = [Part(name=name.encode(), data=data) for name, data in files.items()]
    path.write_bytes(make(Part(name=b"demo/x", packed=b"\xff\xff"), *parts))

    with WheelFile(path) as wheel, pytest.raises(BadWheelError) as caught:
        wheel.facts()

    assert str(caught.value).startswith(f"{path.name}: demo/x is damaged: ")
