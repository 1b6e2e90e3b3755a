"""macOS wheels on any host: NumPy from PyPI with its provider, and the fixtures with one of theirs.

Published wheels carry a copy of the provider's library. It is taken out here, and the modules are
given the name that the build had linked, as if the wheel had just been built.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from macho_files import (
    BUILD,
    FILES,
    PRIVATE,
    PROVIDER,
    SYSTEM,
    commands_end,
    fat,
    signature_place,
    thin_parts,
    with_two_directories,
)
from wheels import make_wheel, read_wheel
from workbench import Completed, download, repair

from extlib_repair import layout
from extlib_repair.binary import codesign, edit, macho, macho_edit, sniff
from extlib_repair.model import Format, Image, Member, RenameNeeded, Signature, SitePath

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OPENBLAS = "@rpath/libscipy_openblas64_.dylib"
NUMPY = {"arm64": "macosx_11_0_arm64", "x86_64": "macosx_10_13_x86_64"}
ACCELERATE = "macosx_14_0_arm64"


def apple_problems(data: bytes, folder: Path) -> list[str]:
    """Return what apple-platform-py finds wrong, but that nobody has signed it with a key."""
    apple: Any = pytest.importorskip("apple_platform")
    harmless = (
        "no cryptographic signature present",
        "Mach-O signature data not found",
        "CMS error: missing further values (at position 0)",
    )
    path = folder / "to-be-verified"
    path.write_bytes(data)
    found = [str(problem["description"]) for problem in apple.verify_macho(os.fspath(path))]
    return [text for text in found if not text.endswith(harmless)]


def images(data: bytes) -> dict[str, Image]:
    return {image.arch: image for image in macho.read(data).images}


def binaries(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if sniff(data[:8]) is Format.MACHO}


def assert_only_the_header_changed(old: bytes, new: bytes, folder: Path) -> None:
    """Compare two files slice by slice, and let two implementations judge the signatures."""
    for before, after in zip(thin_parts(old), thin_parts(new), strict=True):
        start = max(commands_end(before), commands_end(after))
        place = signature_place(before)
        end = place[0] if place else len(before)
        assert after[start:end] == before[start:end]
    for arch, image in images(new).items():
        was = images(old)[arch]
        assert {i.key for i in image.imports} == {i.key for i in was.imports}
        assert image.exports == was.exports
        assert (image.uuid, image.minimum_os, image.name) == (was.uuid, was.minimum_os, was.name)
    assert codesign.problems(new) == ()
    assert apple_problems(new, folder) == []


def only(folder: Path) -> Path:
    (wheel,) = folder.iterdir()
    return wheel


def requirements(files: Mapping[str, bytes]) -> list[str]:
    (metadata,) = (d for n, d in files.items() if n.endswith(".dist-info/METADATA"))
    return re.findall(r"^Requires-Dist: (.*)$", metadata.decode(), re.MULTILINE)


# --- NumPy, un-vendored and repaired ------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Repaired:
    """A wheel before and after, and what was said."""

    arch: str
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    wheel: Path
    done: Completed

    @property
    def changed(self) -> dict[str, bytes]:
        return {n: d for n, d in binaries(self.after).items() if d != self.before[n]}


def numpy(folder: Path, tag: str) -> Path:
    options = ("--platform", tag, "--python-version", "3.12")
    return download(folder, "numpy==2.5.5", *options)


def as_built(data: bytes) -> bytes:
    """Give a module the name that the linker wrote, where delocate has put its own."""
    names = {name for image in macho.read(data).images for name in image.needed}
    vendored = sorted(name for name in names if "/.dylibs/libscipy_openblas64_" in name)
    return edit(data, [RenameNeeded(old=name, new=OPENBLAS) for name in vendored])


@pytest.fixture(scope="module", params=sorted(NUMPY))
def repaired(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Repaired:
    folder = tmp_path_factory.mktemp("numpy")
    tag = NUMPY[request.param]
    files = {
        name: as_built(data) if sniff(data[:8]) is Format.MACHO else data
        for name, data in read_wheel(numpy(folder / "index", tag)).items()
        if "/.dylibs/" not in name and ".dist-info/" not in name
    }
    built = make_wheel(
        folder / "built", files, name="numpy", version="2.5.5", tag=f"cp312-cp312-{tag}"
    )
    out = folder / "out"
    done = repair(built, "--provided-by", "scipy-openblas64", "--fetch", "-w", out)
    assert done.code == 0, done.err
    return Repaired(request.param, files, read_wheel(only(out)), only(out), done)


def test_the_modules_that_use_the_provider_are_edited_and_no_others(repaired: Repaired) -> None:
    users = {n for n, d in binaries(repaired.before).items() if OPENBLAS.encode() in d}

    assert set(repaired.changed) == users
    assert {layout.basename(name).partition(".")[0] for name in users} == {
        "_multiarray_umath",
        "_umath_linalg",
        "lapack_lite",
    }


def test_the_needed_name_is_the_providers_and_one_run_path_leads_there(repaired: Repaired) -> None:
    for member, data in repaired.changed.items():
        (image,) = images(data).values()
        place = layout.installed(Member(member))
        assert place is not None
        steps = layout.relative(layout.folder(place), SitePath("scipy_openblas64/lib"))

        assert [n for n in image.needed if "openblas" in n] == [OPENBLAS]
        assert image.search == (f"@loader_path/{steps}",)
        assert steps == "../../scipy_openblas64/lib"


def test_the_wheel_requires_the_provider(repaired: Repaired) -> None:
    (line,) = requirements(repaired.after)

    assert re.fullmatch(r"scipy-openblas64>=\d+(\.\d+)+", line)


def test_the_tag_stays_where_the_provider_promises_as_much(repaired: Repaired) -> None:
    tag = NUMPY[repaired.arch]
    (text,) = (d.decode() for n, d in repaired.after.items() if n.endswith(".dist-info/WHEEL"))

    assert repaired.wheel.name == f"numpy-2.5.5-cp312-cp312-{tag}.whl"
    assert re.findall(r"^Tag: (.*)$", text, re.MULTILINE) == [f"cp312-cp312-{tag}"]


def test_nothing_changes_but_headers_and_signatures(repaired: Repaired, tmp_path: Path) -> None:
    for member, data in repaired.changed.items():
        assert_only_the_header_changed(repaired.before[member], data, tmp_path)
    signatures = {images(d)[repaired.arch].signature for d in repaired.changed.values()}
    assert signatures <= {Signature.AD_HOC, *([Signature.NONE] * (repaired.arch == "x86_64"))}


def test_no_copy_is_left_and_no_file_is_lost(repaired: Repaired) -> None:
    info = {name for name in repaired.after if ".dist-info/" in name}

    assert set(repaired.after) - info == set(repaired.before)
    assert not [name for name in repaired.after if name.endswith(".dylib")]


def test_the_repaired_wheel_is_good(repaired: Repaired) -> None:
    done = repair("check", repaired.wheel, "--provided-by", "scipy-openblas64", "--fetch")

    assert done.code == 0, done.err
    assert "good with scipy-openblas64" in done.out


def test_what_was_built_is_not_good(repaired: Repaired, tmp_path: Path) -> None:
    tag = f"cp312-cp312-{NUMPY[repaired.arch]}"
    built = make_wheel(tmp_path, repaired.before, name="numpy", version="2.5.5", tag=tag)

    done = repair("check", built)

    assert done.code == 1
    assert f"Library not loaded: {OPENBLAS}" in done.err + done.out
    assert "repair it with --provided-by scipy-openblas64" in done.err + done.out


def test_show_says_who_supplies_the_library(repaired: Repaired) -> None:
    options = ("--provided-by", "scipy-openblas64", "--fetch")

    text = repair("show", repaired.wheel, *options)
    data = json.loads(repair("show", repaired.wheel, *options, "--json").out)

    assert text.code == 0, text.err
    assert "provider: scipy-openblas64" in text.out
    assert "NOBODY" not in text.out
    rows = [r for b in data["binaries"] for r in b["needed"] if r["name"] == OPENBLAS]
    assert {(r["supplier"], r["provider"], r["place"]) for r in rows} == {
        ("provider", "scipy-openblas64", "scipy_openblas64/lib/libscipy_openblas64_.dylib")
    }
    assert len(rows) == 3


def test_a_second_repair_changes_no_binary(repaired: Repaired, tmp_path: Path) -> None:
    done = repair(
        *(repaired.wheel, "--provided-by", "scipy-openblas64", "--fetch"),
        *("-w", tmp_path / "out"),
    )

    assert done.code == 0, done.err
    assert binaries(read_wheel(only(tmp_path / "out"))) == binaries(repaired.after)


# --- Accelerate ---------------------------------------------------------------------------------


def test_a_build_with_accelerate_is_passed_through(tmp_path: Path) -> None:
    wheel = numpy(tmp_path / "in", ACCELERATE)

    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--fetch", "-w", tmp_path / "out"),
    )

    assert done.code == 0, done.err
    assert "nothing in the wheel needs what scipy-openblas64" in done.err
    output = only(tmp_path / "out")
    assert output.name == wheel.name
    before, after = read_wheel(wheel), read_wheel(output)
    assert binaries(after) == binaries(before)
    assert requirements(after) == requirements(before)


# --- The fixtures -------------------------------------------------------------------------------

POLICY = """schema = 1
project = "prov"

[symbols]
prefix = "scipy_"
suffix = "64_"
"""
LIBRARIES = ("libprov.dylib", "libpriv.dylib", "libreexporting.dylib")
RPATH = "@loader_path/../prov/lib"


def slice_of(name: str, arch: str) -> bytes:
    (found,) = (p for p in thin_parts(FILES[name]) if arch in images(p))
    return found


@dataclasses.dataclass(frozen=True)
class Bench:
    """Makes a provider and a consumer, and repairs."""

    folder: Path

    def provider(
        self,
        libraries: Mapping[str, bytes] | None = None,
        platform: str = "macosx_11_0_universal2",
        directory: str = "prov/lib",
    ) -> Path:
        held = libraries or {name: FILES[name] for name in LIBRARIES}
        rows = "".join(
            f'[[libraries]]\nsystem = "macos"\ndirectory = "{directory}"\nname = "{name}"\n\n'
            for name in held
        )
        files = {f"{directory}/{name}": data for name, data in held.items()}
        files["prov-1.0.dist-info/extlib-repair.toml"] = f"{POLICY}\n{rows}".encode()
        return make_wheel(self.folder / "provider", files, name="prov", tag=f"py3-none-{platform}")

    def consumer(self, files: Mapping[str, bytes], platform: str) -> Path:
        tag = f"cp311-cp311-{platform}"
        return make_wheel(self.folder / "in", {"demo/__init__.py": b"", **files}, tag=tag)

    def repair(self, consumer: Path, provider: Path, *options: str) -> Completed:
        return repair(
            *(consumer, "--provided-by", "prov", "--provider-wheel", provider, *options),
            *("-w", self.folder / "out"),
        )

    def output(self) -> dict[str, bytes]:
        return read_wheel(only(self.folder / "out"))

    def repaired(
        self, files: Mapping[str, bytes], platform: str, *options: str
    ) -> tuple[dict[str, bytes], Completed]:
        """Repair; look at all that holds for every repaired wheel; return the new files."""
        provider = self.provider()
        done = self.repair(self.consumer(files, platform), provider, *options)
        assert done.code == 0, done.err
        after = self.output()
        for member, data in files.items():
            assert_only_the_header_changed(data, after[member], self.folder)
        assert requirements(after) == ["prov>=1.0"]
        checked = repair("check", only(self.folder / "out"), "--provider-wheel", provider)
        assert checked.code == 0, checked.err
        assert "good with prov 1.0" in checked.out
        return after, done

    def refused(self, done: Completed, code: int) -> str:
        assert done.code == code, done.err
        assert not list(self.folder.glob("out/*"))
        return done.err


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


CORE = "demo/_core.so"
THIN_CONSUMERS = {
    "chained_arm64.so": "macosx_14_0_arm64",
    "opcodes_arm64.so": "macosx_11_0_arm64",
    "chained_x86_64.so": "macosx_14_0_x86_64",
    "opcodes_x86_64.so": "macosx_11_0_x86_64",
    "old_x86_64.so": "macosx_11_0_x86_64",
}


@pytest.mark.parametrize("name", THIN_CONSUMERS)
def test_a_thin_module_finds_the_provider(name: str, bench: Bench) -> None:
    after, _ = bench.repaired({CORE: FILES[name]}, THIN_CONSUMERS[name])

    (image,) = images(after[CORE]).values()
    assert image.needed == (SYSTEM, PROVIDER, PRIVATE)
    assert image.search == (RPATH,)
    assert image.signature is (Signature.AD_HOC if image.arch == "arm64" else Signature.NONE)
    assert BUILD.encode() not in after[CORE]


def test_names_of_the_build_machine_become_the_providers(bench: Bench) -> None:
    edits = [
        RenameNeeded(old=PROVIDER, new=f"{BUILD}/libprov.dylib"),
        RenameNeeded(old=PRIVATE, new="@loader_path/.dylibs/libpriv.dylib"),
    ]
    built = edit(FILES["chained_arm64.so"], edits)

    after, _ = bench.repaired({CORE: built}, "macosx_14_0_arm64")

    (image,) = images(after[CORE]).values()
    assert image.needed == (SYSTEM, PROVIDER, PRIVATE)
    assert image.search == (RPATH,)
    assert {i.library for i in image.imports if i.library} == {PROVIDER, PRIVATE}


@pytest.mark.parametrize(
    ("member", "entry"),
    [
        ("_core.so", "@loader_path/prov/lib"),
        ("demo/a/b/_core.so", "@loader_path/../../../prov/lib"),
        ("demo-1.0.data/platlib/demo/_core.so", RPATH),
        ("demo-1.0.data/platlib/_core.so", "@loader_path/prov/lib"),
    ],
)
def test_run_paths_count_from_the_installed_place(member: str, entry: str, bench: Bench) -> None:
    after, _ = bench.repaired({member: FILES["opcodes_arm64.so"]}, "macosx_11_0_arm64")

    (image,) = images(after[member]).values()
    assert image.search == (entry,)


def test_an_arm64_module_without_a_signature_gets_one(bench: Bench) -> None:
    after, _ = bench.repaired({"demo/one.so": FILES["unsigned_arm64.so"]}, "macosx_14_0_arm64")

    assert images(after["demo/one.so"])["arm64"].signature is Signature.AD_HOC


def test_the_tag_is_raised_to_the_providers(bench: Bench) -> None:
    _, done = bench.repaired({CORE: FILES["old_x86_64.so"]}, "macosx_10_9_x86_64")

    assert only(bench.folder / "out").name == "demo-1.0-cp311-cp311-macosx_11_0_x86_64.whl"
    assert "the platform tag becomes macosx_11_0_x86_64 (was macosx_10_9_x86_64)" in done.err


def test_every_slice_keeps_its_own_needs(bench: Bench) -> None:
    after, _ = bench.repaired({CORE: FILES["fat.so"]}, "macosx_14_0_universal2")

    found = images(after[CORE])
    assert {arch: image.needed for arch, image in found.items()} == {
        "x86_64": (SYSTEM, PROVIDER),
        "arm64": (SYSTEM, PROVIDER, PRIVATE),
    }
    assert [image.search[-1] for image in found.values()] == [RPATH, RPATH]


def test_a_slice_wants_no_slice_of_a_library_that_only_the_other_needs(bench: Bench) -> None:
    provider = bench.provider(
        {
            "libprov.dylib": FILES["libprov.dylib"],
            "libpriv.dylib": slice_of("libpriv.dylib", "arm64"),
        }
    )
    consumer = bench.consumer({CORE: FILES["fat.so"]}, "macosx_14_0_universal2")

    done = bench.repair(consumer, provider)

    assert done.code == 0, done.err


@pytest.mark.parametrize("lacking", ["x86_64", "arm64"])
def test_a_provider_without_a_slice_is_refused(lacking: str, bench: Bench) -> None:
    held = "arm64" if lacking == "x86_64" else "x86_64"
    provider = bench.provider({n: slice_of(n, held) for n in LIBRARIES})
    consumer = bench.consumer({CORE: FILES["fat.so"]}, "macosx_14_0_universal2")

    said = bench.refused(bench.repair(consumer, provider), 4)

    assert (
        f"is for {lacking}, and libprov.dylib of prov 1.0 for {held} [other-architecture]" in said
    )


def test_a_universal2_wheel_needs_a_universal2_provider(bench: Bench) -> None:
    provider = bench.provider(platform="macosx_11_0_arm64")
    consumer = bench.consumer({CORE: FILES["fat.so"]}, "macosx_14_0_universal2")

    said = bench.refused(bench.repair(consumer, provider), 4)

    assert "universal2" in said


def test_a_missing_symbol_is_refused(bench: Bench) -> None:
    other = macho_edit.rename(FILES["libpriv.dylib"], PROVIDER)
    provider = bench.provider({"libprov.dylib": other, "libpriv.dylib": FILES["libpriv.dylib"]})
    consumer = bench.consumer({CORE: FILES["chained_arm64.so"]}, "macosx_14_0_arm64")

    said = bench.refused(bench.repair(consumer, provider), 4)

    assert "imports 2 symbols (arm64) that prov 1.0 does not export" in said
    assert "scipy_cblas_ddot64_" in said
    assert "[missing-symbols]" in said


def test_a_symbol_that_only_one_slice_lacks_is_refused(bench: Bench) -> None:
    other = macho_edit.rename(slice_of("libpriv.dylib", "x86_64"), PROVIDER)
    mixed = fat(slice_of("libprov.dylib", "arm64"), other, align=14)
    provider = bench.provider({"libprov.dylib": mixed, "libpriv.dylib": FILES["libpriv.dylib"]})
    consumer = bench.consumer({CORE: FILES["fat.so"]}, "macosx_14_0_universal2")

    said = bench.refused(bench.repair(consumer, provider), 4)

    assert "(x86_64) that prov 1.0 does not export: scipy_cblas_ddot64_" in said
    assert "(arm64)" not in said


@pytest.mark.parametrize("arch", ["arm64", "x86_64"])
def test_a_crowded_header_takes_straight_names_where_they_fit(arch: str, bench: Bench) -> None:
    name = f"crowded_{arch}.so"

    after, done = bench.repaired({CORE: FILES[name]}, f"macosx_14_0_{arch}")

    (image,) = images(after[CORE]).values()
    assert image.needed == (SYSTEM, f"{RPATH}/libprov.dylib", f"{RPATH}/libpriv.dylib")
    assert image.search == ()
    assert "[straight-name]" in done.err


@pytest.mark.parametrize("arch", ["arm64", "x86_64"])
def test_a_crowded_header_without_room_is_refused_with_the_numbers(arch: str, bench: Bench) -> None:
    member = "demo/a/b/_core.so"
    consumer = bench.consumer({member: FILES[f"crowded_{arch}.so"]}, f"macosx_14_0_{arch}")

    said = bench.refused(bench.repair(consumer, bench.provider()), 6)

    # 12 bytes of LC_RPATH, "@loader_path/../../../prov/lib" and a NUL, in eights
    assert f"needs 48 bytes more for its load commands ({arch})" in said
    assert "its header has room for 32" in said
    assert "-headerpad_max_install_names" in said


def test_weak_and_reexported_libraries_stay_what_they_are(bench: Bench) -> None:
    after, _ = bench.repaired({"demo/weak.so": FILES["weak.so"]}, "macosx_14_0_arm64")

    (image,) = images(after["demo/weak.so"]).values()
    assert image.weak_needed == {PRIVATE}
    assert image.reexported == {"@rpath/libreexporting.dylib"}
    assert image.search == (RPATH,)


def test_what_is_imported_weakly_need_not_be_exported(bench: Bench) -> None:
    """The weak library of the provider lacks the symbol, which then stays null."""
    emptier = macho_edit.rename(FILES["libprov.dylib"], PRIVATE)
    provider = bench.provider(
        {
            "libprov.dylib": FILES["libprov.dylib"],
            "libpriv.dylib": emptier,
            "libreexporting.dylib": FILES["libreexporting.dylib"],
        }
    )
    consumer = bench.consumer({"demo/weak.so": FILES["weak.so"]}, "macosx_14_0_arm64")

    done = bench.repair(consumer, provider)

    assert done.code == 0, done.err


def test_a_signature_of_an_identity_is_only_replaced_when_asked(bench: Bench) -> None:
    signed = with_two_directories(FILES["chained_arm64.so"], cms=b"\x30\x80" * 40)
    consumer = bench.consumer({CORE: signed}, "macosx_14_0_arm64")
    provider = bench.provider()

    said = bench.refused(bench.repair(consumer, provider), 6)
    done = bench.repair(consumer, provider, "--resign")

    assert "is signed with an identity" in said
    assert "--resign" in said
    assert done.code == 0, done.err
    (image,) = images(bench.output()[CORE]).values()
    assert image.signature is Signature.AD_HOC
    assert codesign.problems(bench.output()[CORE]) == ()


def test_a_provider_that_is_absent_from_the_wheel_is_told_in_dylds_words(bench: Bench) -> None:
    consumer = bench.consumer({CORE: FILES["chained_arm64.so"]}, "macosx_14_0_arm64")

    done = repair("check", consumer)

    assert done.code == 1
    said = done.out + done.err
    assert f"Library not loaded: {PROVIDER}" in said
    assert f"Referenced from: {CORE}" in said
    assert f"Reason: tried: '{BUILD}/libprov.dylib' (no such file)" in said
