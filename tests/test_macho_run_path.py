import pytest

from extlib_repair.binary.macho_run_path import Stray, cleaned, entry_to, growth, name_of, target
from extlib_repair.model import (
    AddNeeded,
    Format,
    Image,
    Kind,
    RenameNeeded,
    RunPath,
    RunPathKind,
    SetRunPath,
    Signature,
    SitePath,
)

UMATH = SitePath("numpy/linalg/_umath_linalg.so")


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ("@loader_path", "numpy/linalg"),
        ("@loader_path/", "numpy/linalg"),
        ("@loader_path/.", "numpy/linalg"),
        ("@loader_path//lib/", "numpy/linalg/lib"),
        ("@loader_path/..", "numpy"),
        ("@loader_path/../..", ""),
        ("@loader_path/../../prov/lib", "prov/lib"),
        ("@loader_path/../.dylibs/libx.dylib", "numpy/.dylibs/libx.dylib"),
        ("@loader_path/new\nline", "numpy/linalg/new\nline"),
    ],
)
def test_an_entry_below_site_packages_leads_to_its_folder(entry: str, place: str) -> None:
    assert target(entry, UMATH) == place


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("/opt/lib", Stray.ABSOLUTE),
        ("/usr/lib/libSystem.B.dylib", Stray.ABSOLUTE),
        ("@loader_path/../../..", Stray.OUTSIDE),
        ("@loader_path/../../../numpy", Stray.OUTSIDE),
        ("@executable_path", Stray.PROGRAM),
        ("@executable_path/../lib", Stray.PROGRAM),
        ("@rpath", Stray.NOWHERE),
        ("@rpath/lib", Stray.NOWHERE),
        ("", Stray.NOWHERE),
        ("lib", Stray.NOWHERE),
        ("$ORIGIN/lib", Stray.NOWHERE),
        ("@loader_path2/lib", Stray.NOWHERE),
        ("@loader_path..", Stray.NOWHERE),
        ("@executable_paths", Stray.NOWHERE),
        ("x@loader_path", Stray.NOWHERE),
        ("@LOADER_PATH/lib", Stray.NOWHERE),
    ],
)
def test_an_entry_that_must_not_be_in_a_wheel_is_called_stray(entry: str, why: Stray) -> None:
    assert target(entry, UMATH) is why


@pytest.mark.parametrize(
    ("at", "directory", "entry"),
    [
        ("numpy/linalg/x.so", "scipy_openblas64/lib", "@loader_path/../../scipy_openblas64/lib"),
        ("pkg/a.so", "prov/lib", "@loader_path/../prov/lib"),
        ("numpy/a.so", "numpy", "@loader_path/"),
        ("a.so", "prov/lib", "@loader_path/prov/lib"),
        ("pkg/a.so", "", "@loader_path/.."),
    ],
)
def test_the_entry_to_a_folder_leads_there(at: str, directory: str, entry: str) -> None:
    written = entry_to(SitePath(at), SitePath(directory))

    assert written == entry
    assert target(written, SitePath(at)) == directory


@pytest.mark.parametrize(
    ("at", "library", "name"),
    [
        ("pkg/a.so", "prov/lib/libp.dylib", "@loader_path/../prov/lib/libp.dylib"),
        ("pkg/a.so", "pkg/libp.dylib", "@loader_path/libp.dylib"),
    ],
)
def test_a_straight_name_leads_to_the_library(at: str, library: str, name: str) -> None:
    assert name_of(SitePath(at), SitePath(library)) == name
    assert target(name, SitePath(at)) == library


def test_good_entries_stay_as_they_are_spelled_each_folder_once() -> None:
    entries = ("@loader_path/../../prov/lib", "@loader_path", "@loader_path/./", "@loader_path/")

    assert cleaned(entries, UMATH) == ("@loader_path/../../prov/lib", "@loader_path")


def test_stray_entries_are_dropped() -> None:
    assert cleaned(("/build/.dylibs", "/build/out", "", "@loader_path"), UMATH) == ("@loader_path",)


def image(arch: str = "x86_64", signature: Signature = Signature.NONE) -> Image:
    return Image(
        format=Format.MACHO,
        kind=Kind.SHARED_LIBRARY,
        arch=arch,
        needed=("@rpath/a.dylib",),
        run_path=RunPath(entries=("/build",), kind=RunPathKind.LC_RPATH),
        signature=signature,
    )


TO_PROVIDER = SetRunPath(run_path=RunPath(entries=("@loader_path/../prov/lib",)))


@pytest.mark.parametrize(
    ("of", "edit", "bytes_more"),
    [
        (image(), TO_PROVIDER, 40 - 24),
        (image("arm64"), TO_PROVIDER, 40 - 24 + 16),
        (image("arm64", Signature.AD_HOC), TO_PROVIDER, 40 - 24),
        (image("i386"), TO_PROVIDER, 40 - 20),
        (image(), SetRunPath(run_path=None), -24),
        (image(), AddNeeded(library="12345678"), 40),
        (image(), RenameNeeded(old="@rpath/a.dylib", new="@rpath/b.dylib"), 0),
        (image("arm64"), AddNeeded(library="@rpath/a.dylib"), 0),
    ],
)
def test_growth_counts_whole_load_commands(
    of: Image, edit: SetRunPath | AddNeeded | RenameNeeded, bytes_more: int
) -> None:
    assert growth(of, [edit]) == bytes_more
