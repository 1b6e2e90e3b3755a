"""Files of one architecture, compiled, edited, and loaded for real."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from elf_files import agree, second_applied, second_reading
from workbench import checked

from extlib_repair.binary import edit, read
from extlib_repair.binary.elf_file import ElfFile
from extlib_repair.model import BinaryEdit, RunPath, RunPathKind, SetRunPath, applied

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PROVIDER = "int prov_add(int x) { return x + 1; }\n"
CONSUMER = """\
int prov_add(int);
static int zeroed[50000];
static const char *volatile names[] = {"relative", "relocations", "a", "b", "c", "d", "e"};
#ifdef ALONE  /* without the C library */
#define per_thread 5
#define per_thread_zeroed zeroed
static int length(void) {
    int n = 1;
    for (int i = 0; i < 2; i++)
        for (const char *p = names[i]; *p; p++) n++;
    zeroed[49999] = zeroed[299] = 1;
    return n;
}
#else
#include <stdio.h>
#include <string.h>
static __thread int per_thread = 5;
static __thread char per_thread_zeroed[300];
__attribute__((constructor)) static void start(void) { zeroed[49999] = 1; }
static int length(void) {
    char text[40];
    snprintf(text, sizeof text, "%s %s", names[0], names[1]);
    per_thread_zeroed[299]++;
    return (int)strlen(text);
}
#endif
int cons_answer(int x) {
    int n = length();
    zeroed[x] += prov_add(x);
    return zeroed[x] * 100 + per_thread + zeroed[49999] + per_thread_zeroed[299] + n;
}
"""
VERSIONS = "CONS_1 { local: *; }; CONS_2 { global: cons_answer; } CONS_1;\n"
ANSWER = "2127"
USER = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static void use(const char *file) {
    Dl_info provider;
    void *library = dlopen(file, RTLD_NOW);
    int (*answer)(int) = library ? (int (*)(int))dlsym(library, "cons_answer") : NULL;
    if (!answer || !dladdr(dlsym(library, "prov_add"), &provider))
        printf("%s\\n", dlerror());
    else
        printf("%d %s\\n", answer(20), provider.dli_fname);
}
int main(int count, char **files) {
    for (int i = 1; i < count; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            use(files[i]);
            fflush(stdout);
            _exit(0);
        }
        if (waitpid(child, &status, 0) != child || status)
            printf("ended with status %d\\n", status);
        fflush(stdout);
    }
    return 0;
}
"""
PROGRAM = """\
#include <stdio.h>
int cons_answer(int);
int main(void) { printf("%d\\n", cons_answer(20)); return 0; }
"""

TO_PROVIDER = "$ORIGIN/../prov/lib"


@dataclasses.dataclass(frozen=True)
class Target:
    """What runs the files, and what Debian has for it."""

    arch: str
    compiler: str
    qemu: str = ""
    packages: str = ""
    options: tuple[str, ...] = ()
    lld: bool = True
    relr: bool = False
    """Whether this linker packs relative relocations: GNU ld 2.40 does it on x86 and POWER."""

    relr_loads: bool = True
    lld_strips: bool = True

    @property
    def name(self) -> str:
        return self.arch if self.qemu else "musl"


class Site:
    """A site-packages with a provider, and consumers of one architecture."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.libprov = folder / "prov" / "lib" / "libprov.so"
        self.libprov.parent.mkdir(parents=True)
        for tool in filter(None, (target.compiler, target.qemu, "ld.lld", "readelf")):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not there (Debian: {target.packages})")
        texts = {"prov": PROVIDER, "cons": CONSUMER, "user": USER, "program": PROGRAM}
        for name, text in texts.items():
            (folder / f"{name}.c").write_text(text, encoding="utf-8")
        (folder / "cons.map").write_text(VERSIONS, encoding="utf-8")
        # Cross compilers look for linkers under their own prefix only.
        (folder / "ld.lld").symlink_to(str(shutil.which("ld.lld")))
        self.compile("-c", "-fPIC", "cons.c", "-o", "cons.o")
        self.compile("-c", "-fPIC", "-DALONE", "cons.c", "-o", "alone.o")
        self.compile("-shared", "-fPIC", "-Wl,-soname,libprov.so", "prov.c", "-o", self.libprov)
        self.compile("user.c", "-o", "user", "-ldl")

    def compile(self, *arguments: str | Path) -> None:
        command = [self.target.compiler, "-B.", "-O1", *self.target.options, *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if "cannot find crt1.o" in done.stderr or "stdio.h: No such file" in done.stderr:
            pytest.skip(f"the C library is not there (Debian: {self.target.packages})")
        assert done.returncode == 0, done.stderr
        assert "ignored" not in done.stderr

    def linked(self, options: Sequence[str], library: str | Path) -> bytes:
        source = "alone.o" if "-nostdlib" in options else "cons.o"
        self.compile("-shared", source, *options, library, "-o", "cons.so")
        return (self.folder / "cons.so").read_bytes()

    def answers(self, files: Mapping[str, bytes], *, strip: bool = False) -> dict[str, str]:
        """Load each file from a folder of its own; say what its function said."""
        paths = {name: self.folder / name / "cons.so" for name in files}
        for name, data in files.items():
            paths[name].parent.mkdir(exist_ok=True)
            paths[name].write_bytes(data)
        if strip:
            names = [n for n in files if self.target.lld_strips or "lld" not in n]
            self.strip(paths[name] for name in names)
        said = self.run("user", *paths.values()).splitlines()
        own = f" {self.folder}/"
        lines = [line.replace(own, " ") for line in said]
        for path in paths.values():
            path.unlink()
        return dict(zip(files, lines, strict=True))

    def strip(self, paths: Iterable[Path]) -> None:
        tool = self.target.compiler.removesuffix("gcc").removeprefix("musl-") + "strip"
        checked([tool, "-s", *paths])

    def run(self, program: str, *arguments: Path) -> str:
        """Run a program of this architecture."""
        command: list[str | Path] = [self.folder / program, *arguments]
        if self.target.qemu:
            libc = checked([self.target.compiler, "-print-file-name=libc.so.6"]).strip()
            command = [self.target.qemu, "-L", Path(libc).parent.parent, *command]
        return checked(command, {"LD_LIBRARY_PATH": ""})


def run_path(*entries: str, kind: RunPathKind = RunPathKind.RPATH) -> SetRunPath:
    return SetRunPath(run_path=RunPath(entries=entries, kind=kind))


VERY_LONG = run_path(*(f"$ORIGIN/{i}{1000 * 'x'}" for i in range(70)), TO_PROVIDER)


def found(names: Iterable[str]) -> dict[str, str]:
    """Say what consumers answer that find the provider from their own folder."""
    return {name: f"{ANSWER} {name}/../prov/lib/libprov.so" for name in names}


def lawful(old: bytes, new: bytes, edits: Sequence[BinaryEdit]) -> None:
    """Hold an edited file against the laws, and against pyelftools."""
    (before,), (after,) = read(old).images, read(new).images
    assert edit(old, ()) == old
    assert after == applied(before, edits)
    assert edit(new, edits) == new
    assert second_reading(new) == second_applied(second_reading(old), edits)
    assert ElfFile(new).is_loadable
    agree(before, old)
    agree(after, new)
