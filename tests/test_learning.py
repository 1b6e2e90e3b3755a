"""``providers learn``: from a folder of wheels, and what ends it early."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from macho_files import FILES
from wheels import make_wheel, read_wheel

from extlib_repair import binary, cli, fetching, history, learning
from extlib_repair.errors import (
    BadWheelError,
    CannotWriteError,
    FetchingError,
    HistoryError,
    UsageError,
)
from extlib_repair.history import History, Place
from extlib_repair.model import Libc, Project, System

if TYPE_CHECKING:
    from extlib_repair import tags

DEMO = resources.files("extlib_repair") / "data" / "demo"
ELF = read_wheel(Path(str(DEMO / "extlib_demo_matrix-1.0-py3-none-manylinux_2_17_x86_64.whl")))[
    "extlib_demo_matrix/lib/libdemo_matrix.so"
]
FAT = FILES["libprov.dylib"]
LINUX = Place(System.LINUX, "x86_64", Libc.GLIBC)
ARM_MAC = Place(System.MACOS, "arm64")
INTEL_MAC = Place(System.MACOS, "x86_64")


def foo(
    folder: Path,
    version: str = "1.0",
    tag: str = "py3-none-manylinux_2_17_x86_64",
    data: bytes = ELF,
    name: str = "my_foo",
) -> Path:
    suffix = "dylib" if "macosx" in tag else "so"
    files = {f"my_foo/lib/libfoo.{suffix}": data, "my_foo/lib/libz-0123abcd.so.1": ELF}
    return make_wheel(folder, files, name=name, version=version, tag=tag)


def silent(_: str) -> None:
    """Say nothing."""


def wish(folder: Path, releases: str = "", file: str = "foo.json.xz") -> learning.Wanted:
    return learning.wanted("My.Foo", releases, folder / "in", str(folder / file))


def learned(folder: Path, releases: str = "", file: str = "foo.json.xz") -> History:
    known = learning.learn(wish(folder, releases, file), silent)
    assert learning.read(folder / file) == known
    return known


def test_a_wheel_says_what_its_libraries_say(tmp_path: Path) -> None:
    path = foo(tmp_path)
    (image,) = binary.read(ELF).images

    (looked,) = learning.read_wheel(path, yanked=True)

    assert (looked.project, looked.place, looked.yanked) == ("my-foo", LINUX, True)
    assert looked.exports == {"libfoo.so": image.exports}
    assert looked.wheel.filename == path.name
    assert looked.wheel.platforms == ("manylinux_2_17_x86_64",)
    (library,) = looked.wheel.libraries
    assert (library.name, library.directory) == ("libfoo.so", "my_foo/lib")
    assert (library.own_name, library.needed) == (image.name, image.needed)
    assert library.sha256 == hashlib.sha256(ELF).hexdigest()
    assert library.uuid == image.uuid


def test_a_wheel_for_two_machines_is_read_slice_by_slice(tmp_path: Path) -> None:
    found = learning.read_wheel(foo(tmp_path, tag="py3-none-macosx_11_0_universal2", data=FAT))

    images = {image.arch: image for image in binary.read(FAT).images}
    assert [looked.place for looked in found] == [ARM_MAC, INTEL_MAC]
    for looked in found:
        assert looked.exports == {"libfoo.dylib": images[looked.place.arch].exports}
        assert looked.wheel.libraries[0].uuid == images[looked.place.arch].uuid


def test_a_library_for_another_machine_is_left_out(tmp_path: Path) -> None:
    (looked,) = learning.read_wheel(foo(tmp_path, tag="py3-none-manylinux_2_17_aarch64"))

    assert looked.exports == {}
    assert looked.wheel.libraries == ()


def test_a_tag_without_a_c_library_is_glibc_where_nothing_says_musl(tmp_path: Path) -> None:
    (looked,) = learning.read_wheel(foo(tmp_path, tag="py3-none-linux_x86_64"))

    assert looked.place == LINUX


def test_a_folder_is_learned_and_a_later_run_adds_to_it(tmp_path: Path) -> None:
    foo(tmp_path / "in", "1.0")
    foo(tmp_path / "in", "3.0")
    foo(tmp_path / "in", "9.0", name="other")
    assert learned(tmp_path).at(LINUX).releases == ("1.0", "3.0")

    foo(tmp_path / "in", "2.0")
    foo(tmp_path / "in", "2.0", "py3-none-macosx_11_0_universal2", FAT)
    known = learned(tmp_path)

    assert known.at(LINUX).releases == ("1.0", "2.0", "3.0")
    assert known.at(ARM_MAC).releases == ("2.0",)
    assert learned(tmp_path, file="all-at-once.json") == known


def test_releases_can_be_chosen(tmp_path: Path) -> None:
    foo(tmp_path / "in", "1.0")
    foo(tmp_path / "in", "2.0rc1")

    assert learned(tmp_path, ">1.0").releases == ("2.0rc1",)


def test_what_was_learned_before_a_bad_wheel_is_kept(tmp_path: Path) -> None:
    foo(tmp_path / "in", "1.0")
    (tmp_path / "in" / "my_foo-2.0-py3-none-any.whl").write_bytes(b"no archive")

    with pytest.raises(BadWheelError):
        learning.learn(wish(tmp_path), silent)

    assert learning.read(tmp_path / "foo.json.xz").releases == ("1.0",)


@pytest.mark.parametrize(
    ("name", "releases", "folder", "file", "message"),
    [
        ("-x", "", None, "", "'-x' is not the name of a project"),
        ("foo", "1", None, "", "--versions '1' is not a specifier"),
        ("foo", "", Path("none"), "", "--wheels none is not a folder"),
        ("foo", "", None, "none/h.json", "-o none/h.json: there is no folder none"),
    ],
)
def test_what_cannot_be_learned_is_said(
    name: str, releases: str, folder: Path | None, file: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        learning.wanted(name, releases, folder, file)

    assert str(caught.value) == message


def test_the_file_is_called_like_the_project() -> None:
    assert learning.wanted("My.Foo", "", None, "").file == Path("my-foo.json.xz")


def test_the_file_of_another_project_is_not_touched(tmp_path: Path) -> None:
    foo(tmp_path / "in")
    other = History(project=Project("other"))
    learning.write(other, tmp_path / "foo.json.xz")

    with pytest.raises(HistoryError, match=r"foo\.json\.xz is the history of other"):
        learning.learn(wish(tmp_path), silent)

    assert learning.read(tmp_path / "foo.json.xz") == other


def test_a_file_that_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b"\xff")
    with pytest.raises(HistoryError, match=r"cannot read the history .*: it is not UTF-8"):
        learning.read(tmp_path / "latin.json")
    with pytest.raises(HistoryError, match=r"cannot read the history .*: No such file"):
        learning.read(tmp_path / "none.json")
    with pytest.raises(CannotWriteError, match="cannot write"):
        learning.write(History(project=Project("foo")), tmp_path / "none" / "foo.json")


class Index:
    """Stands for the index: what it lists, and how often it fails before it answers."""

    def __init__(self, folder: Path, failures: int = 0) -> None:
        self.folder = folder
        self.failures = failures
        self.asked: list[str] = []

    def versions(self, project: Project, platform: tags.Platform) -> tuple[str, ...]:
        self.fail()
        wheels = self.folder.glob(f"*-{'macosx' if platform.system is System.MACOS else 'many'}*")
        assert project == "my-foo"
        return tuple(w.name.split("-")[1] for w in wheels if platform.arch in ("x86_64", "arm64"))

    def download(
        self, _: Project, version: str, platform: tags.Platform, folder: Path
    ) -> tuple[Path, bool]:
        self.fail()
        self.asked.append(f"{version} {platform.tag}")
        system = "macosx" if platform.system is System.MACOS else "many"
        (found,) = self.folder.glob(f"my_foo-{version}-*{system}*")
        data = found.read_bytes()
        (folder / found.name).write_bytes(data)
        return folder / found.name, version == "1.1"

    def fail(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise FetchingError("pip cannot: no route to host")


def on_index(monkeypatch: pytest.MonkeyPatch, index: Index) -> None:
    monkeypatch.setattr(fetching, "versions", index.versions)
    monkeypatch.setattr(fetching, "download", index.download)
    monkeypatch.setattr(learning, "_PAUSES", (0, 0))
    monkeypatch.setattr(learning, "PLACES", {p: learning.PLACES[p] for p in (LINUX, ARM_MAC)})


def test_an_index_is_learned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.0", "1.1"):
        foo(tmp_path / "in", version)
    foo(tmp_path / "in", "1.1", "py3-none-macosx_11_0_universal2", FAT)
    index = Index(tmp_path / "in", failures=2)
    on_index(monkeypatch, index)
    wanted = learning.wanted("my-foo", "", None, str(tmp_path / "foo.json"))
    said: list[str] = []

    known = learning.learn(wanted, said.append)
    again = learning.learn(wanted, said.append)

    assert again == known
    assert said == [
        "my-foo 1.0 linux-glibc-x86_64",
        "my-foo 1.1 linux-glibc-x86_64",
        "my-foo 1.1 macos-arm64",
    ]
    assert len(index.asked) == len(said)
    assert known.yanked == {"1.1"}
    assert known.at(ARM_MAC).absent == {"1.0"}
    assert known.at(INTEL_MAC).releases == ("1.1",)


def test_what_was_learned_before_the_network_failed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foo(tmp_path / "in", "1.0")
    foo(tmp_path / "in", "1.1")
    index = Index(tmp_path / "in")
    on_index(monkeypatch, index)
    wanted = learning.wanted("my-foo", "", None, str(tmp_path / "foo.json"))

    def tell(text: str) -> None:
        index.failures = 99 if "1.1" in text else 0

    with pytest.raises(FetchingError, match="no route to host") as caught:
        learning.learn(wanted, tell)

    assert caught.value.hint == "what was learned is kept: the same command goes on from there"
    assert learning.read(tmp_path / "foo.json").releases == ("1.0",)


def test_a_wheel_for_any_platform_supplies_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "in", {}, name="my_foo", tag="many-none-any")
    index = Index(tmp_path / "in")
    on_index(monkeypatch, index)

    known = learning.learn(learning.wanted("my-foo", "", None, str(tmp_path / "foo.json")), silent)

    assert known.at(LINUX).absent == {"1.0"}


def test_a_project_that_the_index_does_not_know_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_index(monkeypatch, Index(tmp_path))

    with pytest.raises(FetchingError, match=r"pip finds no wheel of my-foo>=2 for any platform"):
        learning.learn(learning.wanted("my-foo", ">=2", None, str(tmp_path / "foo.json")), silent)

    assert not (tmp_path / "foo.json").exists()


def test_the_command_learns_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    foo(tmp_path / "in")

    assert cli.main(["providers", "learn", "my-foo", "--wheels", "in", "-o", "h.json"]) == 0

    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "my_foo-1.0-py3-none-manylinux_2_17_x86_64.whl",
        "h.json: my-foo, releases 1, wheels 1, platform families 1",
    ]
    exports = history.exports_of(learning.read(Path("h.json")), "1.0", LINUX, "libfoo.so")
    assert exports == binary.read(ELF).images[0].exports
