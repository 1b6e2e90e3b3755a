"""The model of the loader, held against the loaders of glibc and musl: the same files, loaded."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from facts import provider, wheel
from workbench import checked, run

from extlib_repair import binary, shipped
from extlib_repair.layout import basename
from extlib_repair.loading import Loading, Supplier
from extlib_repair.model import Kind, Libc, Member, RunPathKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from extlib_repair.model import Image

RPATH, RUNPATH = RunPathKind.RPATH, RunPathKind.RUNPATH
ROOT, MIDDLE, PROVIDED = "demo/_e.so", "demo.libs/libmid.so.2", "prov/lib/libprov.so"
LIBS, PROV = "$ORIGIN/../demo.libs", "$ORIGIN/../prov/lib"


@dataclasses.dataclass(frozen=True)
class Made:
    """A library to be made: what it needs, its run path, its own name if that is not the file's."""

    needed: Sequence[str] = ()
    search: Sequence[str] = ()
    style: RunPathKind = RPATH
    soname: str = ""
    options: Sequence[str] = ()
    is_object: bool = False
    text: str = ""
    """What stands in the file instead."""


Tree = dict[str, Made]


def chain(first: Made, second: Made) -> Tree:
    """Extension -> vendored library -> provider."""
    return {ROOT: first, MIDDLE: second, PROVIDED: Made()}


def extension(*search: str, style: RunPathKind = RPATH, needed: str = "libmid.so.2") -> Made:
    return Made(needed.split(), search, style)


def vendored(*search: str, style: RunPathKind = RPATH) -> Made:
    return Made(["libprov.so"], search, style)


CASES: Mapping[str, tuple[Tree, bool, bool]] = {
    "RPATH is inherited": (chain(extension(LIBS, PROV), vendored()), True, True),
    "RUNPATH is not": (chain(extension(LIBS, PROV, style=RUNPATH), vendored()), False, True),
    "own RUNPATH switches inherited RPATH off": (
        chain(extension(LIBS, PROV), vendored("$ORIGIN", style=RUNPATH)),
        False,
        True,
    ),
    "own RPATH does not": (chain(extension(LIBS, PROV), vendored("$ORIGIN")), True, True),
    "RUNPATH at each link": (
        chain(extension(LIBS, style=RUNPATH), vendored(PROV, style=RUNPATH)),
        True,
        True,
    ),
    "no path to the provider": (chain(extension(LIBS), vendored()), False, False),
    "no path at all": (chain(extension(), vendored(PROV)), False, False),
    "past a link without": (
        {
            ROOT: Made(["liba.so"], [LIBS, PROV]),
            "demo.libs/liba.so": Made(["libb.so"]),
            "demo.libs/libb.so": Made(["libprov.so"]),
            PROVIDED: Made(),
        },
        True,
        True,
    ),
    "loaded already by name": (
        {
            ROOT: Made(["libprov.so", "libmid.so.2"], [LIBS, PROV], RUNPATH),
            MIDDLE: Made(["libprov.so"]),
            PROVIDED: Made(),
        },
        True,
        True,
    ),
    "loaded already, but too late": (
        {
            ROOT: Made(["liba.so", "libb.so"], [LIBS], RUNPATH),
            "demo.libs/liba.so": Made(["libprov.so"]),
            "demo.libs/libb.so": Made(["libprov.so"], [PROV], RUNPATH),
            PROVIDED: Made(),
        },
        False,
        False,
    ),
    "loaded already by its SONAME": (
        {
            ROOT: Made(["libfile.so", "libb.so"], [LIBS], RUNPATH),
            "demo.libs/libfile.so": Made(soname="libname.so.1"),
            "demo.libs/libb.so": Made(["libname.so.1"]),
        },
        True,
        False,
    ),
    "inherited from the first who needs it": (
        {
            ROOT: Made(["liba.so", "libb.so"], [LIBS], RUNPATH),
            "demo.libs/liba.so": Made(["libmid.so.2"], ["$ORIGIN"], RUNPATH),
            "demo.libs/libb.so": Made(["libmid.so.2"], ["$ORIGIN", PROV]),
            MIDDLE: Made(["libprov.so"]),
            PROVIDED: Made(),
        },
        False,
        False,
    ),
    "the first folder wins": (
        {
            ROOT: Made(["libx.so"], [LIBS, PROV]),
            "demo.libs/libx.so": Made(),
            "prov/lib/libx.so": Made(["libgone.so"]),
        },
        True,
        True,
    ),
    "own before inherited": (
        {
            ROOT: Made(["libmid.so.2"], [LIBS, "$ORIGIN"]),
            MIDDLE: Made(["libx.so"], ["$ORIGIN/own"]),
            "demo/libx.so": Made(["libgone.so"]),
            "demo.libs/own/libx.so": Made(),
        },
        True,
        True,
    ),
    "a cycle": (
        {
            ROOT: Made(["liba.so"], [LIBS]),
            "demo.libs/liba.so": Made(["libb.so"]),
            "demo.libs/libb.so": Made(["liba.so"]),
        },
        True,
        True,
    ),
    "an image that names itself": (
        {ROOT: Made(["libself.so"], [LIBS]), "demo.libs/libself.so": Made(["libself.so"])},
        True,
        True,
    ),
    "a root that names itself": ({ROOT: Made(["_e.so"])}, True, False),
    "a file of another architecture is passed by": (
        {
            ROOT: Made(["libx.so"], ["$ORIGIN/32", "$ORIGIN/64"]),
            "demo/32/libx.so": Made(options=["-m32"]),
            "demo/64/libx.so": Made(),
        },
        True,
        False,
    ),
    "a text is in the way": (
        {
            ROOT: Made(["libx.so"], ["$ORIGIN", LIBS]),
            "demo/libx.so": Made(text="INPUT(libx.so.1)\n" * 9),
            "demo.libs/libx.so": Made(),
        },
        False,
        False,
    ),
    "an object file is in the way": (
        {
            ROOT: Made(["libx.so"], ["$ORIGIN", LIBS]),
            "demo/libx.so": Made(is_object=True),
            "demo.libs/libx.so": Made(),
        },
        False,
        False,
    ),
    "odd spellings": (
        {ROOT: Made(["libx.so"], ["", "${ORIGIN}/.././demo.libs//"]), "demo.libs/libx.so": Made()},
        True,
        True,
    ),
    "a wrong depth": (
        {ROOT: Made(["libx.so"], ["$ORIGIN/../../demo.libs"]), "demo.libs/libx.so": Made()},
        False,
        False,
    ),
}
"""What lies below site-packages; whether glibc loads the root, and musl."""


def make(site: Path, tree: Tree) -> None:
    """Link every library with empty ones of the names that it needs."""
    stubs = site.parent / "stubs"
    stubs.mkdir()
    link = ["gcc", "-shared", "-nostdlib", "-fPIC", "-Wl,--no-as-needed"]
    source = stubs / "empty.c"
    source.write_text("int nothing;\n")
    for name in {name for made in tree.values() for name in made.needed}:
        checked([*link, f"-Wl,-soname,{name}", source, "-o", stubs / name])
    for place, made in tree.items():
        target = site / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if made.text:
            target.write_text(made.text)
            continue
        tags = "disable" if made.style is RPATH else "enable"
        options = [f"-Wl,--{tags}-new-dtags", f"-Wl,-soname,{made.soname or basename(place)}"]
        if made.search:
            options.append(f"-Wl,-rpath,{':'.join(made.search)}")
        needed = [stubs / name for name in made.needed]
        command = ["gcc", "-c"] if made.is_object else [*link, *options, *made.options]
        checked([*command, source, *needed, "-o", target])


def facts_of(site: Path, tree: Tree) -> dict[str, Image]:
    """Read the very files; the root is what Python would import."""
    images = {}
    for place, made in tree.items():
        if not made.text:
            (images[place],) = binary.read((site / place).read_bytes()).images
    images[ROOT] = dataclasses.replace(images[ROOT], kind=Kind.EXTENSION_MODULE)
    return images


def modelled(site: Path, tree: Tree, libc: Libc) -> set[str] | None:
    """Return the files that the root brings in, or None where something is missing."""
    images = facts_of(site, tree)
    of_provider = {place: image for place, image in images.items() if place.startswith("prov/")}
    own = {place: image for place, image in images.items() if place not in of_provider}
    facts = wheel(own, files=[place for place in tree if place not in images])
    providers = [provider("prov", of_provider)]
    loading = Loading(facts, providers, shipped.names().system_libraries, libc)
    reached, queue = {ROOT}, [ROOT]
    for place in queue:
        for found in loading.found.get(Member(place), {}).values():
            if found.supplier is Supplier.NOBODY:
                return None
            if found.place is not None and found.place not in reached:
                reached.add(found.place)
                queue.append(found.place)
    return reached


GLIBC = """
import ctypes, json, sys
for name in sys.argv[2:]:
    ctypes.CDLL(name)
site = sys.argv[1] + "/"
lines = [line.rpartition(" ")[2].strip() for line in open("/proc/self/maps")]
print(json.dumps(sorted({line[len(site):] for line in lines if line.startswith(site)})))
"""
MUSL = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    char line[4096];
    const char *comma = "";
    if (!dlopen(argv[2], RTLD_NOW)) { fprintf(stderr, "OSError: %s\n", dlerror()); return 1; }
    FILE *maps = fopen("/proc/self/maps", "r");
    printf("[");
    while (fgets(line, sizeof line, maps)) {
        char *at = strstr(line, argv[1]);
        line[strcspn(line, "\n")] = 0;
        if (at) { printf("%s\"%s\"", comma, at + strlen(argv[1]) + 1); comma = ", "; }
    }
    puts("]");
    return 0;
}
"""


def loaded(command: Sequence[object], site: Path, **env: str) -> set[str] | None:
    """Return the files that are mapped once the root is loaded, or None where it is not."""
    done = run([*command, site, site / ROOT], {"LD_LIBRARY_PATH": "", **env}, cwd=site.parent)
    if done.code:
        assert "OSError" in done.err, done.err
        return None
    return set(json.loads(done.out))


@pytest.fixture(scope="module")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Libc, Sequence[object]]:
    """Return the commands that load a library, by the C library of the program."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not there")
    if shutil.which("musl-gcc") is None:
        pytest.skip("musl-gcc is not there")
    folder = tmp_path_factory.mktemp("musl")
    (folder / "load.c").write_text(MUSL)
    checked(["musl-gcc", folder / "load.c", "-o", folder / "load"])
    return {Libc.GLIBC: [sys.executable, "-c", GLIBC], Libc.MUSL: [folder / "load"]}


@pytest.mark.parametrize("libc", Libc)
@pytest.mark.parametrize("case", CASES)
def test_the_loader_does_what_the_model_says(
    case: str, libc: Libc, tmp_path: Path, loaders: Mapping[Libc, Sequence[object]]
) -> None:
    tree, on_glibc, on_musl = CASES[case]
    site = tmp_path / "site-packages"
    make(site, tree)

    mapped = loaded(loaders[libc], site)

    assert (mapped is not None) is (on_glibc if libc is Libc.GLIBC else on_musl)
    assert modelled(site, tree, libc) == mapped


def test_a_provider_that_was_imported_before_satisfies_its_name(
    tmp_path: Path, loaders: Mapping[Libc, Sequence[object]]
) -> None:
    """What other packages load first is not in the model: nobody can promise it."""
    tree = {ROOT: Made(["libprov.so"]), PROVIDED: Made()}
    site = tmp_path / "site-packages"
    make(site, tree)

    before = run([*loaders[Libc.GLIBC], site, site / PROVIDED, site / ROOT])

    assert json.loads(before.out) == [ROOT, PROVIDED]
    assert loaded(loaders[Libc.GLIBC], site) is None
    assert modelled(site, tree, Libc.GLIBC) is None


@pytest.mark.parametrize(("style", "real"), [(RPATH, True), (RUNPATH, False)])
def test_the_environment_comes_before_dt_runpath_and_after_dt_rpath(
    style: RunPathKind,
    real: bool,  # noqa: FBT001
    tmp_path: Path,
    loaders: Mapping[Libc, Sequence[object]],
) -> None:
    """LD_LIBRARY_PATH is not in the model either; with DT_RPATH, the default, it need not be."""
    tree = {ROOT: Made(["libprov.so"], [PROV], style), PROVIDED: Made(), "fake/libprov.so": Made()}
    site = tmp_path / "site-packages"
    make(site, tree)

    mapped = loaded(loaders[Libc.GLIBC], site, LD_LIBRARY_PATH=str(site / "fake"))

    assert mapped == {ROOT, PROVIDED if real else "fake/libprov.so"}
    assert modelled(site, tree, Libc.GLIBC) == {ROOT, PROVIDED}
