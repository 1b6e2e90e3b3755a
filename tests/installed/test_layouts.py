"""Every layout in which a consumer and its provider can be installed, with and without the loader.

The table below says what each layout does when the consumer has a run path only (``never``) and
when it has the loader too (``auto``); ``docs/layouts.md`` shows the same table. Everything is
installed into a copy of the base installation of this Python, which holds nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pythons import pythons
from wheels import make_wheel, read_wheel
from workbench import PLATFORM, Workshop, checked, download, repair, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GOLDEN = Path(__file__).parents[1] / "golden" / "layouts"
DOCS = Path(__file__).parents[2] / "docs" / "layouts.md"
LIBRARY = "libscipy_openblas64_.so"
OPENBLAS = f"scipy_openblas64/lib/{LIBRARY}"
SYMBOL = "scipy_cblas_ddot64_"
MODES = ("never", "auto")
LIMITED = ("DOT", "Py_LIMITED_API=0x03080000")
TAG = f"cp38-abi3-{PLATFORM}"

FAKE = """
#include <stdint.h>
void scipy_cblas_dgemm64_(void) {}
char *scipy_openblas_get_config64_(void) { return "fake"; }
double scipy_cblas_ddot64_(int64_t n, const double *x, int64_t dx, const double *y, int64_t dy)
{
    return -1;
}
"""

USE = f"""
import json, pkg._mod
with open("/proc/self/maps") as maps:
    code = [line.strip() for line in maps if {LIBRARY!r} in line and " r-xp " in line]
print(json.dumps([pkg._mod.ddot(), [line.split(None, 5)[5] for line in code]]))
"""


# --- what is installed where ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Start:
    """How the program is started, and whose library it must find."""

    provider: Path
    python: Path
    path: Sequence[Path] = ()
    options: Sequence[str] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before: str = ""
    module: str = "pkg._mod"

    def said(self, folder: Path) -> tuple[int, str, str]:
        """Run the program in an empty folder; return its exit code, output and last error."""
        (folder / "empty").mkdir(exist_ok=True)
        clean = {
            "LD_LIBRARY_PATH": "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHOME": "",
            "PYTHONNOUSERSITE": "",
            "PYTHONPATH": os.pathsep.join(map(str, self.path)),
            "PYTHONUSERBASE": str(folder / "no-user"),
        }
        program = self.before + USE.replace("pkg._mod", self.module)
        command = [self.python, *self.options, "-c", program]
        done = run(command, {**clean, **self.env}, cwd=folder / "empty")
        return done.code, done.out, error(done.err)


@dataclasses.dataclass(frozen=True)
class Shop:
    """The wheels of one mode, folders with them that are not changed, and a folder of one test."""

    wheels: Mapping[str, Path]
    sites: Path
    base: Path
    """A Python with nothing in its site-packages, which stays so."""
    fake: Path
    folder: Path

    def site(self, *names: str) -> Path:
        """Return a folder with these wheels; all tests share it. Two have two copies of a file."""
        target = self.sites / "-".join(names)
        return target if target.exists() else self.install(target, *names, link_mode="copy")

    def install(self, target: Path, *names: str, link_mode: str = "hardlink") -> Path:
        """Let uv install these wheels into a folder."""
        self._uv(link_mode, "--python", self.base, "--target", target, *names)
        return target

    def install_for(self, python: Path, *names: str, link_mode: str = "hardlink") -> None:
        """Let uv install these wheels into an environment."""
        self._uv(link_mode, "--python", python, *names)

    def pip(self, python: Path, *arguments: object, env: Mapping[str, str] | None = None) -> None:
        """Let pip install something, from the wheels that are here and from nowhere else."""
        command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index"]
        links = self.wheels["provider"].parent
        # In the environment pip would be told more by the settings of this machine.
        clean = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(links), "PYTHONPATH": ""}
        checked([*command, *arguments], {**clean, **(env or {})})

    def own_base(self) -> Path:
        """Make a base installation for this test alone."""
        return copied_python(self.folder / "base")

    def venv(self, *options: str, base: Path | None = None) -> Path:
        """Make an environment and return its Python."""
        folder = self.folder / "venv"
        checked([base or self.base, "-m", "venv", "--without-pip", *options, folder])
        return folder / "bin" / "python"

    def normal(self, text: str, python: Path) -> str:
        """Return a text without what differs from machine to machine."""
        known = {
            str(python): "PYTHON",
            str(self.folder): "FOLDER",
            str(self.sites): "SITES",
            str(self.base.parents[1]): "BASE",
        }
        for path in sorted(known, key=len, reverse=True):
            text = text.replace(path, f"<{known[path]}>")
        text = re.sub(r"(?<=/python)3\.?\d+\b", "3.X", text)
        text = text.replace("/local/lib/python3.X/dist-packages", "/lib/python3.X/site-packages")
        text = re.sub(r"(scipy-openblas64[^\d\n]*)\d+(\.\d+)+", r"\1N", text)
        return text + "\n"

    def _uv(self, link_mode: str, *arguments: object) -> None:
        command = ["uv", "pip", "install", "-q", "--no-index", "--no-deps"]
        words = [self.wheels.get(str(word), word) for word in arguments]
        cache = {"UV_CACHE_DIR": str(self.sites.parent / "uv-cache")}
        checked([*command, "--link-mode", link_mode, *words], cache)


def error(text: str) -> str:
    """Return the exception at the end of a traceback, all its lines."""
    starts = [found.start() for found in re.finditer(r"^\w+Error: ", text, re.MULTILINE)]
    return text[starts[-1] :].strip() if starts else text.strip()


def copied_python(folder: Path) -> Path:
    """Make a base installation with nothing in its site-packages; its files are links."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    copy = folder / stdlib.relative_to(sys.base_prefix)
    copy.mkdir(parents=True)
    ours = {"site-packages", "dist-packages", "sitecustomize.py", "EXTERNALLY-MANAGED"}
    for entry in stdlib.iterdir():
        if entry.name not in ours:
            (copy / entry.name).symlink_to(entry)
    for library in stdlib.parent.glob("libpython*"):
        (copy.parent / library.name).symlink_to(library)
    python = folder / "bin" / stdlib.name
    python.parent.mkdir()
    shutil.copy(os.path.realpath(sys.executable), python)
    return python


def base_site(python: Path) -> Path:
    """Return the first site-packages folder of an interpreter."""
    said = checked([python, "-I", "-c", "import site; print(site.getsitepackages()[0])"])
    return Path(said.strip())


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The provider's wheel for another machine."""
    folder = tmp_path_factory.mktemp("aarch64")
    return download(folder, "scipy-openblas64", "--platform", "manylinux_2_27_aarch64")


@pytest.fixture(scope="module")
def shops(
    tmp_path_factory: pytest.TempPathFactory, workshop: Workshop, openblas64: Path, aarch64: Path
) -> dict[str, Shop]:
    folder = tmp_path_factory.mktemp("layouts")
    module = workshop.module("_mod", *LIMITED)
    base = copied_python(folder / "base")
    fake = folder / "fake" / LIBRARY
    fake.parent.mkdir()
    (folder / "fake.c").write_text(FAKE)
    checked(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", fake, folder / "fake.c"])
    found = {}
    for mode in MODES:
        wheels = {"provider": openblas64, "aarch64": aarch64}
        for name, package in (("consumer", "pkg"), ("other", "other")):
            files = {f"{package}/__init__.py": b"", f"{package}/_mod.abi3.so": module}
            plain = make_wheel(folder / mode / "in", files, name=name, tag=TAG)
            wheels[name] = repaired(plain, openblas64, folder / mode / "out", mode)
        found[mode] = Shop(wheels, folder / mode / "sites", base, fake, folder)
    return found


def repaired(
    wheel: Path, provider: Path, folder: Path, mode: str, workshop: Workshop | None = None
) -> Path:
    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", provider),
        *("-w", folder, "--loader", mode),
        env=workshop.env if workshop else None,
    )

    assert done.code == 0, done.err
    return Path(done.out.strip())


# --- the layouts ----------------------------------------------------------------------------------


def one_environment(shop: Shop) -> Start:
    python = shop.venv()
    shop.install_for(python, "consumer", "provider")
    return Start(base_site(python), python)


def isolated(shop: Shop) -> Start:
    return dataclasses.replace(one_environment(shop), options=["-I"])


def user_site(shop: Shop) -> Start:
    return in_user_site(shop, shop.base, shop.wheels["consumer"])


def no_user_site(shop: Shop) -> Start:
    return dataclasses.replace(user_site(shop), options=["-s"])


def in_user_site(shop: Shop, python: Path, wheel: Path) -> Start:
    """Let pip install a wheel, and what it requires, into a user site."""
    env = {"PYTHONUSERBASE": str(shop.folder / "home")}
    shop.pip(shop.base, "--user", wheel, env=env)
    (site,) = (shop.folder / "home").glob("lib*/python3*/site-packages")
    return Start(site, python, env=env)


def base_and_user(shop: Shop) -> Start:
    base = shop.own_base()
    shop.install(base_site(base), "consumer")
    return in_user_site(shop, base, shop.wheels["provider"])


def base_and_no_user(shop: Shop) -> Start:
    return dataclasses.replace(base_and_user(shop), options=["-s"])


def base_and_venv(shop: Shop) -> Start:
    base = shop.own_base()
    shop.install(base_site(base), "provider")
    python = shop.venv("--system-site-packages", base=base)
    # The requirement is satisfied: pip brings no second provider.
    shop.pip(python, shop.wheels["consumer"])
    return Start(base_site(base), python)


def base_and_venv_isolated(shop: Shop) -> Start:
    return dataclasses.replace(base_and_venv(shop), options=["-I"])


def user_and_venv(shop: Shop) -> Start:
    python = shop.venv("--system-site-packages")
    start = in_user_site(shop, python, shop.wheels["provider"])
    shop.pip(python, shop.wheels["consumer"], env=start.env)
    return start


def user_and_isolated_venv(shop: Shop) -> Start:
    python = shop.venv()
    shop.install_for(python, "consumer")
    return in_user_site(shop, python, shop.wheels["provider"])


def one_target(shop: Shop) -> Start:
    site = shop.site("consumer", "provider")
    return Start(site, shop.base, [site])


def two_targets(shop: Shop) -> Start:
    provider = shop.site("provider")
    return Start(provider, shop.base, [shop.site("consumer"), provider])


def two_targets_reversed(shop: Shop) -> Start:
    provider = shop.site("provider")
    return Start(provider, shop.base, [provider, shop.site("consumer")])


def without_site(shop: Shop) -> Start:
    return dataclasses.replace(two_targets(shop), options=["-S"])


def editable(shop: Shop) -> Start:
    python = shop.venv()
    shop.install_for(python, "provider")
    site = base_site(python)
    (site / "consumer.pth").write_text(f"{shop.site('consumer')}\n")
    return Start(site, python)


FINDER = """
import sys
from importlib.machinery import PathFinder
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{folder!r}]) if name == {package!r} else None
sys.meta_path.append(Finder)
"""


def editable_with_finder(shop: Shop) -> Start:
    python = shop.venv()
    shop.install_for(python, "provider")
    site = base_site(python)
    finder = FINDER.format(folder=str(shop.site("consumer")), package="pkg")
    (site / "__editable___consumer_finder.py").write_text(finder)
    (site / "__editable__.consumer.pth").write_text("import __editable___consumer_finder\n")
    return Start(site, python)


def provider_with_finder(shop: Shop) -> Start:
    provider = shop.site("provider")
    finder = FINDER.format(folder=str(provider), package="scipy_openblas64")
    return Start(provider, shop.base, [shop.site("consumer")], before=finder)


def link_mode(mode: str) -> Callable[[Shop], Start]:
    def arrange(shop: Shop) -> Start:
        python = shop.venv()
        shop.install_for(python, "consumer", "provider", link_mode=mode)
        return Start(base_site(python), python)

    return arrange


def linked_folders(shop: Shop) -> Start:
    """Each wheel has a folder of its own, and site-packages is made of links to packages."""
    site = shop.folder / "links"
    site.mkdir()
    (site / "pkg").symlink_to(shop.site("consumer") / "pkg")
    (site / "scipy_openblas64").symlink_to(shop.site("provider") / "scipy_openblas64")
    return Start(shop.site("provider"), shop.base, [site])


def linked_consumer(shop: Shop) -> Start:
    """Only the text of the path leads to the provider: the loader of the system goes elsewhere."""
    site = shop.install(shop.folder / "links", "provider")
    (site / "pkg").symlink_to(shop.site("consumer") / "pkg")
    return Start(site, shop.base, [site])


def zipped_provider(shop: Shop) -> Start:
    archive = shop.folder / "provider.zip"
    shutil.copy(shop.wheels["provider"], archive)
    return Start(archive, shop.base, [shop.site("consumer"), archive])


def no_provider(shop: Shop) -> Start:
    return Start(shop.folder, shop.base, [shop.site("consumer")])


# --- a provider that does not fit -----------------------------------------------------------------


def too_old(_: Shop, library: bytes) -> bytes:
    """Take a symbol away, as if it had come with a later release."""
    name = SYMBOL.encode()
    assert library.count(b"\0" + name + b"\0") >= 1
    return library.replace(b"\0" + name + b"\0", b"\0" + name.upper() + b"\0")


def wrong_architecture(shop: Shop, _: bytes) -> bytes:
    return read_wheel(shop.wheels["aarch64"])[OPENBLAS]


def truncated(_: Shop, library: bytes) -> bytes:
    return library[:50]


def cut_in_half(_: Shop, library: bytes) -> bytes:
    """Leave a header that promises more than there is: the system does not look, and is killed."""
    return library[: len(library) // 2]


def overwritten(_: Shop, library: bytes) -> bytes:
    return bytes(len(library))


def no_library(_: Shop, __: bytes) -> None:
    return None


def beside(change: Callable[[Shop, bytes], bytes | None]) -> Callable[[Shop], Start]:
    """Consumer and provider share a folder; the provider's library is changed."""

    def arrange(shop: Shop) -> Start:
        site = shop.install(shop.folder / "site", "consumer", "provider")
        _change(shop, site, change)
        return Start(site, shop.base, [site])

    return arrange


def apart(change: Callable[[Shop, bytes], bytes | None]) -> Callable[[Shop], Start]:
    """The provider has a folder of its own; its library is changed."""

    def arrange(shop: Shop) -> Start:
        site = shop.install(shop.folder / "site", "provider")
        _change(shop, site, change)
        return Start(site, shop.base, [shop.site("consumer"), site])

    return arrange


def _change(shop: Shop, site: Path, change: Callable[[Shop, bytes], bytes | None]) -> None:
    library = site / OPENBLAS
    changed = change(shop, library.read_bytes())
    library.unlink()
    if changed is not None:
        library.write_bytes(changed)


# --- what else happens in the process -------------------------------------------------------------

THREADS = """
import threading
results, start = [], threading.Barrier(8)
def work():
    start.wait()
    import pkg._mod
    results.append([pkg._mod.ddot() for _ in range(50)])
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
if results != [[14.0] * 50] * 8:
    import pkg._mod  # say why
    raise SystemExit(results)
"""
FORK = """
import os, sys
{before}
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
SHARED = "assert (other._mod.ddot(), pkg._mod.ddot()) == (14.0, 14.0)\n"


def before(text: str, layout: Callable[[Shop], Start] = two_targets) -> Callable[[Shop], Start]:
    """Let the process do something before, in a layout."""

    def arrange(shop: Shop) -> Start:
        return dataclasses.replace(layout(shop), before=text)

    return arrange


def other_beside_provider(shop: Shop) -> Start:
    site = shop.site("other", "provider")
    imports = f"import other._mod, pkg._mod\n{SHARED}"
    return Start(site, shop.base, [shop.site("consumer"), site], before=imports)


def both_apart_from_provider(shop: Shop) -> Start:
    provider = shop.site("provider")
    path = [shop.site("consumer"), shop.site("other"), provider]
    return Start(provider, shop.base, path, before=f"import other._mod, pkg._mod\n{SHARED}")


def library_path(layout: Callable[[Shop], Start]) -> Callable[[Shop], Start]:
    def arrange(shop: Shop) -> Start:
        return dataclasses.replace(layout(shop), env={"LD_LIBRARY_PATH": str(shop.fake.parent)})

    return arrange


def another_copy_first(shop: Shop) -> Start:
    site = shop.site("consumer", "provider")
    return Start(site, shop.base, [shop.site("provider"), site])


def another_copy_imported(shop: Shop) -> Start:
    """In one process there is one library of a name: the system takes what is there."""
    start = another_copy_first(shop)
    provider = shop.site("provider")
    return dataclasses.replace(start, before="import scipy_openblas64\n", provider=provider)


def two_copies_apart(shop: Shop) -> Start:
    first = shop.site("other", "provider")
    return Start(first, shop.base, [shop.site("consumer"), first, shop.site("provider")])


# --- the table ------------------------------------------------------------------------------------

WORKS = "works"
USES_FAKE = "uses the fake"


@dataclasses.dataclass(frozen=True)
class Row:
    """A layout and its results: ``WORKS``, ``USES_FAKE``, or a text of ``golden/layouts``."""

    arrange: Callable[[Shop], Start]
    never: str
    auto: str


LAYOUTS = {
    "one environment": Row(one_environment, WORKS, WORKS),
    "one environment, `python -I`": Row(isolated, WORKS, WORKS),
    "both in the user site": Row(user_site, WORKS, WORKS),
    "both in the user site, `python -s`": Row(no_user_site, "no module", "no module"),
    "consumer in the base, provider in the user site": Row(base_and_user, "not found", WORKS),
    "consumer in the base, provider in the user site, `python -s`": Row(
        base_and_no_user, "not found", "base alone"
    ),
    "`--system-site-packages`, provider in the base": Row(base_and_venv, "not found", WORKS),
    "`--system-site-packages`, provider in the base, `python -I`": Row(
        base_and_venv_isolated, "not found", WORKS
    ),
    "`--system-site-packages`, provider in the user site": Row(user_and_venv, "not found", WORKS),
    "isolated environment, provider in the user site": Row(
        user_and_isolated_venv, "not found", "environment alone"
    ),
    "one `--target` folder": Row(one_target, WORKS, WORKS),
    "two `--target` folders": Row(two_targets, "not found", WORKS),
    "two `--target` folders, the provider's first": Row(two_targets_reversed, "not found", WORKS),
    "two `--target` folders, `python -S`": Row(without_site, "not found", WORKS),
    "editable consumer (`.pth`)": Row(editable, "not found", WORKS),
    "editable consumer (finder)": Row(editable_with_finder, "not found", WORKS),
    "editable provider (finder)": Row(provider_with_finder, "not found", WORKS),
    "`uv --link-mode clone`": Row(link_mode("clone"), WORKS, WORKS),
    "`uv --link-mode copy`": Row(link_mode("copy"), WORKS, WORKS),
    "`uv --link-mode hardlink`": Row(link_mode("hardlink"), WORKS, WORKS),
    "`uv --link-mode symlink`": Row(link_mode("symlink"), WORKS, WORKS),
    "package folders are links": Row(linked_folders, "not found", WORKS),
    "the consumer's package folder is a link": Row(linked_consumer, "not found", WORKS),
    "provider in a zip file": Row(zipped_provider, "not found", "zip"),
    "no provider": Row(no_provider, "not found", "not installed"),
}
PROVIDERS = {
    "too old": Row(beside(too_old), "too old", "too old"),
    "too old, in another folder": Row(apart(too_old), "not found", "too old apart"),
    "for another machine": Row(beside(wrong_architecture), "not found", "not found"),
    "for another machine, in another folder": Row(
        apart(wrong_architecture), "not found", "another machine"
    ),
    "truncated": Row(beside(truncated), "truncated beside", "truncated beside"),
    "truncated, in another folder": Row(apart(truncated), "not found", "truncated"),
    "cut in half": Row(beside(cut_in_half), "bus error", "bus error"),
    "cut in half, in another folder": Row(apart(cut_in_half), "not found", "truncated"),
    "overwritten": Row(beside(overwritten), "overwritten beside", "overwritten beside"),
    "overwritten, in another folder": Row(apart(overwritten), "not found", "overwritten"),
    "without its library": Row(beside(no_library), "not found", "no library"),
}
PROCESSES = {
    "one folder, threads import at once": Row(before(THREADS, one_target), WORKS, WORKS),
    "two folders, threads import at once": Row(before(THREADS), "not found", WORKS),
    "two folders, imported after `fork`": Row(before(FORK.format(before="")), "not found", WORKS),
    "two folders, imported before `fork`": Row(
        before(FORK.format(before="import pkg._mod")), "not found", WORKS
    ),
    "two folders, the provider is imported first": Row(
        before("import scipy_openblas64\n"), WORKS, WORKS
    ),
    "two folders, the provider is imported later": Row(
        before("import pkg._mod, scipy_openblas64\n"), "not found", WORKS
    ),
    "two folders, another consumer beside the provider is imported first": Row(
        other_beside_provider, WORKS, WORKS
    ),
    "three folders, two consumers": Row(both_apart_from_provider, "not found", WORKS),
    "one folder, a fake on `LD_LIBRARY_PATH`": Row(library_path(one_target), WORKS, WORKS),
    "two folders, a fake on `LD_LIBRARY_PATH`": Row(library_path(two_targets), USES_FAKE, WORKS),
    "one folder, another copy earlier on `sys.path`": Row(another_copy_first, WORKS, WORKS),
    "one folder, another copy is imported first": Row(another_copy_imported, WORKS, WORKS),
    "two copies in other folders": Row(two_copies_apart, "not found", WORKS),
}
TABLE = {**LAYOUTS, **PROVIDERS, **PROCESSES}


def seen(shop: Shop, start: Start) -> str:
    """Start the program; return how it went, or the text of its failure."""
    code, out, err = start.said(shop.folder)
    if code:
        return shop.normal(err or f"killed by signal {-code}", start.python)
    dot, files = json.loads(out)
    results = {
        (14.0, os.path.realpath(start.provider / OPENBLAS)): WORKS,
        (-1.0, str(shop.fake)): USES_FAKE,
    }
    (file,) = files
    return results[dot, file]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", TABLE)
def test_each_layout_does_what_the_table_says(
    name: str, mode: str, tmp_path: Path, shops: dict[str, Shop], golden: Callable[[str, str], None]
) -> None:
    shop = dataclasses.replace(shops[mode], folder=tmp_path)
    expected = TABLE[name].never if mode == "never" else TABLE[name].auto

    result = seen(shop, TABLE[name].arrange(shop))

    if expected in {WORKS, USES_FAKE}:
        assert result == expected
    else:
        assert result not in {WORKS, USES_FAKE}
        golden(f"layouts/{expected.replace(' ', '-')}.txt", result)


def test_the_documentation_shows_the_same_table() -> None:
    def cell(result: str) -> str:
        return result if result in {WORKS, USES_FAKE} else f"fails: {result}"

    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", DOCS.read_text("utf-8"), re.MULTILINE)

    assert [row for row in rows if row[1] != "run path only"] == [
        (name, cell(row.never), cell(row.auto)) for name, row in {**TABLE, **FROZEN}.items()
    ]


# --- other consumers ------------------------------------------------------------------------------

HOOKED = b"from . import _distributor_init\nfrom ._mod import ddot\n"
CONSUMERS: dict[str, tuple[str, Callable[[Workshop], dict[str, bytes]]]] = {
    "it imports the module at once": (
        "pkg",
        lambda w: {
            "pkg/__init__.py": b'"""Docs."""\n\nfrom __future__ import annotations\n'
            b"from pkg._mod import ddot\n",
            "pkg/_mod.abi3.so": w.module("_mod", *LIMITED),
        },
    ),
    "it has the hook for distributors": (
        "pkg",
        lambda w: {
            "pkg/__init__.py": HOOKED,
            "pkg/_distributor_init.py": b"",
            "pkg/_mod.abi3.so": w.module("_mod", *LIMITED),
        },
    ),
    "in a package of a package": (
        "pkg.deep.deeper._mod",
        lambda w: {
            "pkg/__init__.py": b"",
            "pkg/deep/__init__.py": b"",
            "pkg/deep/deeper/_mod.abi3.so": w.module("_mod", *LIMITED),
        },
    ),
    "a vendored library needs it, too": (
        "pkg._mod",
        lambda w: {
            "pkg/__init__.py": b"",
            "pkg/_mod.abi3.so": w.module("_mod", *LIMITED, "MIDDLE", link=("openblas", "middle")),
        },
    ),
    "in no package": ("_mod", lambda w: {"_mod.abi3.so": w.module("_mod", *LIMITED)}),
}


@pytest.mark.parametrize("layout", [one_target, two_targets])
@pytest.mark.parametrize("kind", CONSUMERS)
def test_each_kind_of_consumer_finds_the_provider(
    kind: str,
    layout: Callable[[Shop], Start],
    tmp_path: Path,
    workshop: Workshop,
    shops: dict[str, Shop],
) -> None:
    module, members = CONSUMERS[kind]
    plain = make_wheel(tmp_path / "in", members(workshop), name="consumer", tag=TAG)
    always = "always" if kind == "in no package" else "auto"
    output = repaired(plain, shops["auto"].wheels["provider"], tmp_path / "out", always, workshop)
    wheels = {**shops["auto"].wheels, "consumer": output}
    shop = dataclasses.replace(shops["auto"], wheels=wheels, sites=tmp_path, folder=tmp_path)

    assert seen(shop, dataclasses.replace(layout(shop), module=module)) == WORKS


# --- the command that mends it --------------------------------------------------------------------


def no_wheel(shop: Shop, python: Path) -> Start:
    """Leave the environment without a provider."""
    shop.install_for(python, "consumer")
    return Start(base_site(python), python)


def empty_package(shop: Shop, python: Path) -> Start:
    shop.install_for(python, "consumer", "provider")
    (base_site(python) / OPENBLAS).unlink()
    return Start(base_site(python), python)


def damaged_file(shop: Shop, python: Path) -> Start:
    """An editable consumer: its run path leads nowhere, and the loader finds the file."""
    shop.install_for(python, "provider")
    (base_site(python) / OPENBLAS).unlink()
    (base_site(python) / OPENBLAS).write_bytes(bytes(100))
    return Start(base_site(python), python, [shop.site("consumer")])


def zip_file(shop: Shop, python: Path) -> Start:
    shop.install_for(python, "consumer")
    return Start(base_site(python), python, zipped_provider(shop).path[1:])


@pytest.mark.parametrize("broken", [no_wheel, empty_package, damaged_file, zip_file])
def test_the_command_in_the_text_mends_it(
    broken: Callable[[Shop, Path], Start], tmp_path: Path, shops: dict[str, Shop]
) -> None:
    shop = dataclasses.replace(shops["auto"], folder=tmp_path)
    start = broken(shop, shop.venv())
    _, _, text = start.said(tmp_path)
    (command,) = re.findall(r"^  (.* -m pip install .*)$", text, re.MULTILINE)
    words = shlex.split(command)

    assert words[:4] == [str(start.python), "-m", "pip", "install"]
    shop.pip(start.python, *words[4:], env={"PYTHONPATH": os.pathsep.join(map(str, start.path))})
    assert seen(shop, start) == WORKS


# --- every Python that the wheel's tag allows -----------------------------------------------------

OF_THE_TAG = [p for p in pythons() if re.fullmatch(r"python3\.([89]|1\d)", p.resolve().name)]


@pytest.mark.parametrize("python", OF_THE_TAG, ids=str)
@pytest.mark.parametrize("layout", [one_target, two_targets])
def test_every_python_of_the_tag_finds_the_provider(
    layout: Callable[[Shop], Start], python: Path, tmp_path: Path, shops: dict[str, Shop]
) -> None:
    shop = dataclasses.replace(shops["auto"], folder=tmp_path)

    assert seen(shop, dataclasses.replace(layout(shop), python=python)) == WORKS


@pytest.mark.parametrize("python", OF_THE_TAG, ids=str)
def test_every_python_of_the_tag_says_the_same(
    python: Path, tmp_path: Path, shops: dict[str, Shop]
) -> None:
    shop = dataclasses.replace(shops["auto"], folder=tmp_path)

    said = seen(shop, dataclasses.replace(no_provider(shop), python=python))

    first = (GOLDEN / "not-installed.txt").read_text("utf-8").partition("\n")[0]
    assert said.partition("\n")[0] == first


# --- musl -----------------------------------------------------------------------------------------

PROV = "int prov_answer(void) { return ANSWER; }\n"
CONS = "int prov_answer(void);\nint cons_answer(void) { return prov_answer(); }\n"
OPEN = """
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(int count, char **files)
{
    void *opened = NULL;
    for (int i = 1; i < count; i++)
        if (!(opened = dlopen(files[i], RTLD_NOW | RTLD_LOCAL)))
            return puts(dlerror()), 1;
    int (*answer)(void) = (int (*)(void))dlsym(opened, "cons_answer"), copies = 0;
    char line[5000];
    for (FILE *maps = fopen("/proc/self/maps", "r"); fgets(line, sizeof line, maps);)
        copies += strstr(line, "/libprov.so") && strstr(line, " r-xp ");
    printf("%d, %d mapped\\n", answer(), copies);
    return 0;
}
"""
FOUND = "42, 1 mapped"
NOT_FOUND = {
    "gcc": "libprov.so: cannot open shared object file: No such file or directory",
    "musl-gcc": (
        "Error loading shared library libprov.so: No such file or directory (needed by {0})"
    ),
}


@dataclasses.dataclass(frozen=True)
class TwoFiles:
    """A library with a run path to another, and a program that opens both."""

    folder: Path
    compiler: str

    def compile(self, source: str, output: str, *options: str) -> None:
        target = self.folder / output
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "source.c").write_text(source)
        checked([self.compiler, "source.c", "-o", target, *options], cwd=self.folder)

    def opened(self, *names: str) -> str:
        files = [self.folder / name for name in names]
        done = run([self.folder / "open", *files], {"LD_LIBRARY_PATH": ""})
        # glibc says before it which file needs the library.
        return done.out.strip().removeprefix(f"{files[-1]}: ")


@pytest.fixture(params=["gcc", "musl-gcc"])
def two_files(request: pytest.FixtureRequest, tmp_path: Path) -> TwoFiles:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not there (Debian: gcc, musl-tools)")
    made = TwoFiles(tmp_path, request.param)
    shared = ("-shared", "-fPIC")
    for folder, answer in (("one", 42), ("apart", 42), ("other", 43)):
        name = f"{folder}/prov/libprov.so"
        made.compile(PROV, name, *shared, f"-DANSWER={answer}", "-Wl,-soname,libprov.so")
    run_path = ("-Wl,-rpath,$ORIGIN/../prov", "-Wl,--disable-new-dtags")
    needed = ("-Lone/prov", "-lprov")
    made.compile(CONS, "one/cons/libcons.so", *shared, *needed, *run_path)
    (tmp_path / "alone" / "cons").mkdir(parents=True)
    shutil.copy(tmp_path / "one" / "cons" / "libcons.so", tmp_path / "alone" / "cons")
    made.compile(OPEN, "open", "-ldl")
    return made


def test_a_run_path_leads_to_the_provider(two_files: TwoFiles) -> None:
    assert two_files.opened("one/cons/libcons.so") == FOUND


def test_a_run_path_goes_from_the_place_of_a_linked_file(two_files: TwoFiles) -> None:
    site = two_files.folder / "links"
    for name in ("cons/libcons.so", "prov/libprov.so"):
        (site / name).parent.mkdir(parents=True)
        (site / name).symlink_to(two_files.folder / ("alone" if "cons" in name else "apart") / name)

    assert two_files.opened("links/cons/libcons.so") == FOUND


def test_a_run_path_follows_a_linked_folder(two_files: TwoFiles) -> None:
    site = two_files.folder / "links"
    site.mkdir()
    (site / "cons").symlink_to(two_files.folder / "alone" / "cons")
    (site / "prov").symlink_to(two_files.folder / "apart" / "prov")

    missing = NOT_FOUND[two_files.compiler].format(site / "cons" / "libcons.so")
    assert two_files.opened("links/cons/libcons.so") == missing


def test_only_glibc_takes_a_library_that_was_loaded_before(two_files: TwoFiles) -> None:
    missing = NOT_FOUND[two_files.compiler].format(two_files.folder / "alone/cons/libcons.so")
    expected = FOUND if two_files.compiler == "gcc" else missing

    assert two_files.opened("alone/cons/libcons.so") == missing
    assert two_files.opened("apart/prov/libprov.so", "alone/cons/libcons.so") == expected


def test_only_glibc_takes_a_copy_that_was_loaded_before(two_files: TwoFiles) -> None:
    """Where there is a run path, to load another copy first doubles the library on musl."""
    expected = "43, 1 mapped" if two_files.compiler == "gcc" else "42, 2 mapped"

    assert two_files.opened("other/prov/libprov.so", "one/cons/libcons.so") == expected


FOR_MUSL = "void scipy_cblas_dgemm64_(void);\nvoid PyInit__mod(void) { scipy_cblas_dgemm64_(); }\n"


@pytest.fixture(scope="module")
def musl_wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return a consumer for musl, repaired, and its provider; no C library is linked."""
    folder = tmp_path_factory.mktemp("musl")
    provider = download(folder / "in", "scipy-openblas64", "--platform", "musllinux_1_2_x86_64")
    alpine = "libc.musl-x86_64.so.1"
    library = unpacked(folder / "build", provider) / OPENBLAS
    command = ["gcc", "-shared", "-fPIC", "-nostdlib", "-Wl,--allow-shlib-undefined"]
    (folder / "empty.c").write_text("")
    checked([*command, f"-Wl,-soname,{alpine}", "empty.c", "-o", alpine], cwd=folder)
    (folder / "module.c").write_text(FOR_MUSL)
    checked([*command, "-Wl,--no-as-needed", "module.c", library, alpine, "-o", "m.so"], cwd=folder)
    files = {"pkg/__init__.py": b"", "pkg/_mod.abi3.so": (folder / "m.so").read_bytes()}
    tag = "cp38-abi3-musllinux_1_2_x86_64"
    plain = make_wheel(folder / "in", files, name="consumer", tag=tag)
    return [repaired(plain, provider, folder / "out", "auto"), provider]


def unpacked(folder: Path, *wheels: Path) -> Path:
    """Unpack wheels that no installer would take here."""
    for name, data in (item for wheel in wheels for item in read_wheel(wheel).items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_for_musl_the_loader_is_silent_where_the_run_path_leads(
    tmp_path: Path, shops: dict[str, Shop], musl_wheels: list[Path]
) -> None:
    site = unpacked(tmp_path / "site", *musl_wheels)

    env = {"PYTHONPATH": str(site)}
    assert checked([shops["auto"].base, "-c", "import pkg"], env) == ""


@pytest.mark.parametrize("installed", [True, False])
def test_for_musl_the_loader_only_explains(
    installed: bool,  # noqa: FBT001
    tmp_path: Path,
    shops: dict[str, Shop],
    musl_wheels: list[Path],
    golden: Callable[[str, str], None],
) -> None:
    shop = dataclasses.replace(shops["auto"], folder=tmp_path)
    path = [unpacked(tmp_path / "consumer", musl_wheels[0])]
    path += [unpacked(tmp_path / "provider", musl_wheels[1])] if installed else []

    result = seen(shop, Start(tmp_path, shop.base, path))

    golden(f"layouts/musl-{'apart' if installed else 'not-installed'}.txt", result)


# --- frozen applications --------------------------------------------------------------------------

COLLECT = ["--collect-binaries", "scipy_openblas64"]
FROZEN = {
    "PyInstaller, one folder": Row(one_target, WORKS, WORKS),
    "PyInstaller, two folders": Row(two_targets, "not found", "frozen"),
    "PyInstaller, two folders, `--collect-binaries scipy_openblas64`": Row(
        two_targets, WORKS, WORKS
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_application_does_what_the_table_says(
    name: str, mode: str, tmp_path: Path, shops: dict[str, Shop], golden: Callable[[str, str], None]
) -> None:
    shop = dataclasses.replace(shops[mode], folder=tmp_path)
    start = FROZEN[name].arrange(shop)
    expected = FROZEN[name].never if mode == "never" else FROZEN[name].auto
    (tmp_path / "app.py").write_text(USE)
    folders = [f"--{what}path={tmp_path / what}" for what in ("dist", "work", "spec")]
    options = COLLECT if "--collect" in name else []

    command = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", *folders, *options]
    path = os.pathsep.join(map(str, start.path))
    env = {"PYTHONPATH": path, "PYINSTALLER_CONFIG_DIR": str(tmp_path)}
    checked([*command, "app.py"], env, cwd=tmp_path)
    done = run([tmp_path / "dist" / "app" / "app"], {"LD_LIBRARY_PATH": "", "PYTHONPATH": ""})

    if expected == WORKS:
        dot, (file,) = json.loads(done.out)
        assert dot == 14.0
        assert Path(file).is_relative_to(tmp_path / "dist")
    else:
        text = re.sub(r"\n\[PYI-\d+:ERROR\].*", "", error(done.err))
        golden(f"layouts/{expected.replace(' ', '-')}.txt", shop.normal(text, start.python))
