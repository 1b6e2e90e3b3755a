"""ELF on every architecture and on musl: cross-compiled files are edited, then loaded for real.

Needs Debian's cross compilers, their C libraries, qemu-user, lld and musl-tools. A consumer is
loaded in a process of its own (the program below forks), since a library that was loaded once
serves everybody who asks for its name.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from elf_files import (
    IN_PLACE,
    LONG,
    PATCHELF,
    REFUSED,
    SLACK,
    rung,
)
from elf_sites import (
    ANSWER,
    TO_PROVIDER,
    VERY_LONG,
    Site,
    Target,
    found,
    lawful,
    run_path,
)
from wheels import make_wheel
from workbench import TAG, checked, download, repair, run

from extlib_repair.binary import edit, read
from extlib_repair.binary.elf_file import Dt, ElfFile
from extlib_repair.model import AddNeeded, BinaryEdit, RunPathKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ELF_KINDS = (RunPathKind.RPATH, RunPathKind.RUNPATH)

LINKS: dict[str, tuple[str, ...]] = {
    "no run path": (),
    "short rpath": ("-Wl,--disable-new-dtags", "-Wl,-rpath,$ORIGIN"),
    "short runpath": ("-Wl,--enable-new-dtags", "-Wl,-rpath,$ORIGIN"),
    "long rpath": ("-Wl,--disable-new-dtags", f"-Wl,-rpath,{LONG}"),
    "long runpath": ("-Wl,--enable-new-dtags", f"-Wl,-rpath,{LONG}"),
    "4 KB pages": ("-Wl,-z,max-page-size=0x1000", "-Wl,-z,common-page-size=0x1000"),
    "64 KB pages": ("-Wl,-z,max-page-size=0x10000",),
    "64 KB pages, no separate code": (
        "-Wl,-z,max-page-size=0x10000",
        "-Wl,-z,noseparate-code",
        "-Wl,-z,norelro",
    ),
    "old hash table": ("-Wl,--hash-style=sysv",),
    "both hash tables": ("-Wl,--hash-style=both",),
    "stripped": ("-Wl,-s",),
    "bound at once": ("-Wl,-z,now",),
    "no spare entries": ("-Wl,--spare-dynamic-tags=0",),
    "no spare entries, long runpath": (
        "-Wl,--spare-dynamic-tags=0",
        "-Wl,--enable-new-dtags",
        f"-Wl,-rpath,{LONG}",
    ),
    "own versions": ("-Wl,--version-script=cons.map",),
    "lld": ("-fuse-ld=lld",),
    "lld, own versions": ("-fuse-ld=lld", "-Wl,--version-script=cons.map"),
    "lld, long runpath": ("-fuse-ld=lld", "-Wl,--enable-new-dtags", f"-Wl,-rpath,{LONG}"),
    "packed relocations": ("-Wl,-z,pack-relative-relocs",),
    "packed relocations, lld": ("-fuse-ld=lld", "-nostdlib", "-Wl,--pack-dyn-relocs=relr"),
}
"""How consumers are linked.

lld 14 does not write the mark with which the C library asks for packed relocations: such a file
must not use the C library.
"""

NOT_SPARE = "no spare entries"
"""Not even a DT_NULL: no entry can be added."""


def cross(arch: str, prefix: str, libc: str, qemu: str = "", **more: Any) -> Target:
    packages = f"gcc-{prefix} libc6-dev-{libc}-cross qemu-user lld"
    return Target(arch, f"{prefix}-gcc", f"qemu-{qemu or arch}", packages, **more)


TARGETS = (
    cross("aarch64", "aarch64-linux-gnu", "arm64"),
    cross("armv7l", "arm-linux-gnueabihf", "armhf", "arm"),
    cross("i686", "i686-linux-gnu", "i386", "i386", relr=True),
    cross("ppc64le", "powerpc64le-linux-gnu", "ppc64el", relr=True),
    # lld 14 knows no relaxation, and strip 2.40 refuses what it links, edited or not.
    cross("riscv64", "riscv64-linux-gnu", "riscv64", options=("-mno-relax",), lld_strips=False),
    # lld knows the machine since version 18: nothing in Debian 12 packs relocations for it.
    cross("s390x", "s390x-linux-gnu", "s390x", lld=False),
    # musl unpacks relocations since version 1.2.4; Debian 12 has 1.2.3.
    Target("x86_64", "musl-gcc", packages="musl-tools lld", relr_loads=False),
)


class Linked(Site):
    """A site with consumers, linked in every way that this architecture knows."""

    @functools.cached_property
    def consumers(self) -> dict[str, bytes]:
        links = self.links().items()
        return {name: self.linked(options, self.libprov) for name, options in links}

    @functools.cached_property
    def without_library(self) -> dict[str, bytes]:
        links = self.links().items()
        unresolved = "-Wl,--unresolved-symbols=ignore-all"
        return {name: self.linked(options, unresolved) for name, options in links}

    def links(self) -> dict[str, tuple[str, ...]]:
        left_out = set() if self.target.lld else {n for n in LINKS if "lld" in n}
        if not self.target.relr:
            left_out.add("packed relocations")
        if not self.target.relr_loads:
            left_out |= {n for n in LINKS if n.startswith("packed")}
        return {name: options for name, options in LINKS.items() if name not in left_out}


@pytest.fixture(scope="session", params=TARGETS, ids=lambda target: target.name)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Linked:
    return Linked(request.param, tmp_path_factory.mktemp(request.param.arch))


def edited(files: Mapping[str, bytes], *edits: BinaryEdit) -> dict[str, bytes]:
    """Edit those that have room in their dynamic table."""
    full = {NOT_SPARE}
    if any(isinstance(change, AddNeeded) for change in edits):
        full = {name for name in files if name.startswith(NOT_SPARE)}
    return {name: edit(data, edits) for name, data in files.items() if name not in full}


def test_before_the_edit_no_consumer_finds_the_provider(site: Linked) -> None:
    linked, unlinked = site.answers(site.consumers), site.answers(site.without_library)

    missing = ("libprov.so: cannot open shared object", "Error loading shared library libprov.so")
    assert [s for s in linked.values() if not any(text in s for text in missing)] == []
    assert [s for s in unlinked.values() if "prov_add" not in s] == []


@pytest.mark.parametrize("strip", [False, True], ids=["", "stripped afterwards"])
@pytest.mark.parametrize("kind", ELF_KINDS)
def test_edited_consumers_find_the_provider(
    site: Linked, kind: RunPathKind, *, strip: bool
) -> None:
    files = edited(site.consumers, run_path(TO_PROVIDER, kind=kind))

    assert site.answers(files, strip=strip) == found(files)


@pytest.mark.parametrize("strip", [False, True], ids=["", "stripped afterwards"])
def test_consumers_find_the_provider_behind_70_kb_of_run_path(site: Linked, *, strip: bool) -> None:
    """More than any slack has: every file grows."""
    consumers = {n: d for n, d in site.consumers.items() if not n.startswith(NOT_SPARE)}
    files = edited(consumers, VERY_LONG)

    assert {rung(data, [VERY_LONG]) for data in consumers.values()} == {PATCHELF}
    assert site.answers(files, strip=strip) == found(files)


@pytest.mark.parametrize("strip", [False, True], ids=["", "stripped afterwards"])
def test_consumers_linked_without_the_library_get_it(site: Linked, *, strip: bool) -> None:
    files = edited(site.without_library, AddNeeded(library="libprov.so"), run_path(TO_PROVIDER))

    assert site.answers(files, strip=strip) == found(files)


def test_programs_are_edited_and_run(site: Linked) -> None:
    """A chain: the program finds the consumer, and that the provider."""
    consumer = site.folder / "consumer" / "libcons.so"
    consumer.parent.mkdir()
    linked = site.linked(["-Wl,-soname,libcons.so"], site.libprov)
    consumer.write_bytes(edit(linked, [run_path(TO_PROVIDER)]))
    edits: list[BinaryEdit] = [
        AddNeeded(library="libprov.so"),
        run_path("$ORIGIN/consumer", "$ORIGIN/prov/lib"),
    ]
    for kind in ("-pie", "-no-pie"):
        site.compile(kind, "program.c", consumer, "-Wl,--allow-shlib-undefined", "-o", "program")
        program = site.folder / "program"
        program.write_bytes(edit(program.read_bytes(), edits))

        assert site.run("program") == f"{ANSWER}\n"
        site.strip([program])
        assert site.run("program") == f"{ANSWER}\n"


@pytest.mark.parametrize("kind", ELF_KINDS)
def test_a_second_reader_agrees_with_what_was_asked_for(site: Linked, kind: RunPathKind) -> None:
    edits: list[BinaryEdit] = [
        AddNeeded(library="libadded.so.1"),
        run_path(TO_PROVIDER, "$ORIGIN/x", kind=kind),
    ]

    assert {image.arch for d in site.consumers.values() for image in read(d).images} == {
        site.target.arch
    }
    for some in (edits, edits[1:]):
        for name, data in edited(site.consumers, *some).items():
            lawful(site.consumers[name], data, some)


def test_readelf_finds_nothing_wrong_with_edited_files(site: Linked, tmp_path: Path) -> None:
    edits: list[BinaryEdit] = [AddNeeded(library="libadded.so.1"), run_path(TO_PROVIDER)]
    paths = []
    for name, data in edited(site.consumers, *edits).items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)

    command = ["readelf", "-dlSrVW", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_relocations_are_really_packed_before_and_after(site: Linked) -> None:
    packed = {name: data for name, data in site.consumers.items() if name.startswith("packed")}
    if site.target.name in {"s390x", "musl"}:
        assert packed == {}
        return

    assert packed
    for data in (*packed.values(), *edited(packed, run_path(TO_PROVIDER)).values()):
        tags = {entry.tag for entry in ElfFile(data).dynamic}
        assert {Dt.RELR, 35} <= tags


def test_only_crowded_files_need_patchelf_for_a_short_run_path(site: Linked) -> None:
    ways = {n: rung(d, [run_path(TO_PROVIDER)]) for n, d in site.consumers.items()}
    long = {"long rpath", "long runpath", "no spare entries, long runpath", "lld, long runpath"}

    assert {n for n, way in ways.items() if way == IN_PLACE} == long & set(ways)
    assert {n for n, way in ways.items() if way == REFUSED} == {NOT_SPARE}
    crowded = {n for n in ways if "lld" in n or "no separate code" in n}
    assert {n for n, way in ways.items() if way == PATCHELF} <= crowded


def test_without_spare_entries_no_library_can_be_added(site: Linked) -> None:
    ways = {n: rung(d, [AddNeeded(library="libx.so")]) for n, d in site.consumers.items()}

    assert {n for n, way in ways.items() if way == REFUSED} == {
        n for n in ways if n.startswith(NOT_SPARE)
    }
    assert set(ways.values()) <= {SLACK, PATCHELF, REFUSED}


OPENBLAS = "scipy-openblas64==0.3.34.481.3"
OPENBLAS32 = "scipy-openblas32==0.3.34.481.3"
WHEELS = {
    "manylinux_2_28_aarch64": OPENBLAS,
    "manylinux_2_28_ppc64le": OPENBLAS,
    "manylinux_2_28_s390x": OPENBLAS,
    "manylinux_2_39_riscv64": OPENBLAS,
    "manylinux_2_28_i686": OPENBLAS32,
    "musllinux_1_2_x86_64": OPENBLAS,
    "musllinux_1_2_aarch64": OPENBLAS,
}
SMALL_WHEELS = {
    "manylinux_2_28_aarch64": "frozenlist==1.8.0",
    "manylinux_2_31_armv7l": "frozenlist==1.8.0",
    "manylinux_2_28_ppc64le": "frozenlist==1.8.0",
    "manylinux_2_28_s390x": "frozenlist==1.8.0",
    "manylinux_2_39_riscv64": "markupsafe==3.0.3",
    "manylinux_2_17_i686": "markupsafe==2.1.5",
    "musllinux_1_2_s390x": "frozenlist==1.8.0",
    "musllinux_1_2_riscv64": "markupsafe==3.0.3",
}


MODULE = """\
#include <stdint.h>
#ifndef DGEMM
#define INT int64_t
#define DGEMM scipy_cblas_dgemm64_
#endif
void DGEMM(int order, int transpose_a, int transpose_b, INT m, INT n, INT k, double alpha,
           const double *a, INT lda, const double *b, INT ldb, double beta, double *c, INT ldc);
void *PyInit__mod(void) { return 0; }
void product(const double *a, const double *b, double *c) {
    DGEMM(101, 111, 111, 2, 2, 2, 1.0, a, 2, b, 2, 0.0, c, 2);
}
"""
MULTIPLY = """\
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **files) {
    double a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8}, c[4] = {0};
    void *module = dlopen(files[1], RTLD_NOW);
    if (!module) return printf("%s\\n", dlerror()), 1;
    ((void (*)(double *, double *, double *))dlsym(module, "product"))(a, b, c);
    printf("%g %g %g %g\\n", c[0], c[1], c[2], c[3]);
    return 0;
}
"""


# The wheel for riscv64 asks for a newer C library than Debian 12 has.
QEMU_OPENBLAS = [t for t in TARGETS if t.arch in {"aarch64", "i686", "ppc64le", "s390x"}]


def binaries(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return {name: data for name, data in members.items() if data[:4] == b"\x7fELF"}


@pytest.mark.parametrize(
    ("platform", "requirement"),
    [*WHEELS.items(), *SMALL_WHEELS.items()],
    ids=lambda value: value.partition("==")[0],
)
def test_binaries_of_real_wheels_are_read_and_edited(
    tmp_path: Path, platform: str, requirement: str
) -> None:
    wheel = download(tmp_path, requirement, "--platform", platform, "--python-version", "312")
    edits: list[BinaryEdit] = [
        AddNeeded(library="libprovider.so"),
        run_path("$ORIGIN/../provider/lib"),
    ]
    files = binaries(wheel)

    assert files
    for name, data in files.items():
        (image,) = read(data).images
        assert platform.endswith(f"_{image.arch}"), name
        assert image.exports, name
        lawful(data, edit(data, edits), edits)


@pytest.mark.parametrize("target", QEMU_OPENBLAS, ids=lambda target: target.arch)
def test_an_edited_module_multiplies_with_the_real_openblas(tmp_path: Path, target: Target) -> None:
    site = Site(target, tmp_path)
    platform = f"manylinux_2_28_{target.arch}"
    wheel = download(tmp_path / "wheel", WHEELS[platform], "--platform", platform)
    unpack(wheel, tmp_path)
    (library,) = tmp_path.glob("scipy_openblas*/lib/libscipy_openblas*.so")
    (tmp_path / "mod.c").write_text(MODULE, encoding="utf-8")
    (tmp_path / "multiply.c").write_text(MULTIPLY, encoding="utf-8")
    (tmp_path / "pkg").mkdir()
    module = tmp_path / "pkg" / "mod.so"
    # i686 has the library with 32-bit integers only.
    names = ["-DINT=int64_t", "-DDGEMM=scipy_cblas_dgemm64_"]
    if target.arch == "i686":
        names = ["-DINT=int32_t", "-DDGEMM=scipy_cblas_dgemm"]
    site.compile("-shared", "-fPIC", *names, "mod.c", library, "-o", module)
    site.compile("multiply.c", "-ldl", "-o", "multiply")
    entry = f"$ORIGIN/../{library.parent.relative_to(tmp_path)}"
    module.write_bytes(edit(module.read_bytes(), [run_path(entry)]))

    assert site.run("multiply", module) == "19 22 43 50\n"


class Musl:
    """An extension module for musl that multiplies with the real OpenBLAS for musl."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("musl-gcc") is None:
            pytest.skip("musl-gcc is not there (Debian: musl-tools)")
        self.folder = folder
        options = ("--platform", "musllinux_1_2_x86_64")
        self.openblas = download(folder / "provider", OPENBLAS, *options)
        unpack(self.openblas, folder / "build")
        self.library = folder / "build" / "scipy_openblas64" / "lib" / "libscipy_openblas64_.so"
        for name, text in {"mod": MODULE, "user": MULTIPLY, "empty": ""}.items():
            (folder / f"{name}.c").write_text(text, encoding="utf-8")
        alpine = "libc.musl-x86_64.so.1"
        self.compile("-shared", "-nostdlib", f"-Wl,-soname,{alpine}", "empty.c", "-o", alpine)
        self.compile("user.c", "-o", "user")

    def compile(self, *arguments: str | Path) -> None:
        checked(["musl-gcc", "-fPIC", *arguments], cwd=self.folder)

    def module(self, *libraries: str) -> bytes:
        """Compile the module; musl's loader takes every ``libc.*`` for itself."""
        linked: list[str | Path] = ["-shared", "-nostdlib", "mod.c", self.library, *libraries]
        self.compile(*linked, "-Wl,--allow-shlib-undefined", "-o", "mod.so")
        return (self.folder / "mod.so").read_bytes()

    def wheel(self, folder: Path, module: bytes, platform: str) -> Path:
        folder.mkdir()
        files = {"pkg/__init__.py": b"", "pkg/_mod.so": module}
        return make_wheel(folder, files, tag=f"{TAG}-{TAG}-{platform}")

    def product(self, module: Path) -> str:
        return run([self.folder / "user", module], {"LD_LIBRARY_PATH": ""}).out


def unpack(wheel: Path, site: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                (site / name).write_bytes(archive.read(name))


@pytest.fixture(scope="session")
def musl(tmp_path_factory: pytest.TempPathFactory) -> Musl:
    return Musl(tmp_path_factory.mktemp("musl"))


@pytest.mark.parametrize("kind", ELF_KINDS)
def test_a_module_for_musl_finds_the_real_openblas(
    tmp_path: Path, musl: Musl, kind: RunPathKind
) -> None:
    module = tmp_path / "pkg" / "_mod.so"
    module.parent.mkdir()
    module.write_bytes(musl.module("-lc"))
    unpack(musl.openblas, tmp_path)
    assert "Error loading shared library libscipy_openblas64_.so" in musl.product(module)

    to_openblas = run_path("$ORIGIN/../scipy_openblas64/lib", kind=kind)
    module.write_bytes(edit(module.read_bytes(), [to_openblas]))
    assert musl.product(module) == "19 22 43 50\n"


@pytest.mark.parametrize("platform", ["linux_x86_64", "musllinux_1_1_x86_64"])
def test_a_wheel_for_musl_is_repaired_where_glibc_is_and_loads(
    tmp_path: Path, musl: Musl, platform: str
) -> None:
    consumer = musl.wheel(tmp_path / "in", musl.module("libc.musl-x86_64.so.1"), platform)
    provider = ("--provided-by", "scipy-openblas64", "--provider-wheel", musl.openblas)
    done = repair(consumer, *provider, "-w", tmp_path / "out")

    assert done.code == 0, done.err
    (output,) = (tmp_path / "out").iterdir()
    assert output.name.endswith("-musllinux_1_2_x86_64.whl")
    unpack(output, tmp_path / "site")
    unpack(musl.openblas, tmp_path / "site")
    module = tmp_path / "site" / "pkg" / "_mod.so"
    assert musl.product(module) == "19 22 43 50\n"


@pytest.mark.parametrize("platform", ["linux_x86_64", "musllinux_1_1_x86_64"])
def test_where_glibc_is_auditwheel_takes_the_name_libc_so_for_glibcs(
    tmp_path: Path, musl: Musl, platform: str
) -> None:
    """So musl-gcc's own name of the C library is refused; Alpine's compilers write another."""
    consumer = musl.wheel(tmp_path / "in", musl.module("-lc"), platform)
    provider = ("--provided-by", "scipy-openblas64", "--provider-wheel", musl.openblas)
    done = repair(consumer, *provider, "-w", tmp_path / "out")

    assert done.code == 5
    assert "error: auditwheel" in done.err
    assert not (tmp_path / "out").exists()
