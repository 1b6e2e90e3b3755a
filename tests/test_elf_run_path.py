import pytest

from extlib_repair.binary.elf_run_path import Stray, cleaned, entry_to, target
from extlib_repair.model import SitePath

UMATH = SitePath("numpy/linalg/_umath_linalg.so")


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ("$ORIGIN", "numpy/linalg"),
        ("${ORIGIN}", "numpy/linalg"),
        ("$ORIGIN/", "numpy/linalg"),
        ("$ORIGIN/.", "numpy/linalg"),
        ("$ORIGIN//lib/", "numpy/linalg/lib"),
        ("$ORIGIN/../../numpy.libs", "numpy.libs"),
        ("${ORIGIN}/../../numpy.libs", "numpy.libs"),
        ("$ORIGIN/../..", ""),
        ("$ORIGIN/../lib/../core", "numpy/core"),
        ("$ORIGIN/$LIB", "numpy/linalg/$LIB"),
        ("$ORIGIN/new\nline", "numpy/linalg/new\nline"),
    ],
)
def test_an_entry_below_site_packages_leads_to_its_folder(entry: str, place: str) -> None:
    assert target(entry, UMATH) == place


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("/opt/lib", Stray.ABSOLUTE),
        ("/", Stray.ABSOLUTE),
        ("$ORIGIN/../../..", Stray.OUTSIDE),
        ("$ORIGIN/../../../numpy", Stray.OUTSIDE),
        ("", Stray.CURRENT_FOLDER),
        ("lib", Stray.CURRENT_FOLDER),
        ("./lib", Stray.CURRENT_FOLDER),
        ("@loader_path/lib", Stray.CURRENT_FOLDER),
        ("$LIB/x", Stray.CURRENT_FOLDER),
        ("$ORIGINAL", Stray.CURRENT_FOLDER),
        ("$ORIGIN2/lib", Stray.CURRENT_FOLDER),
        ("${ORIGIN", Stray.CURRENT_FOLDER),
        ("$ORIGIN.libs", Stray.CURRENT_FOLDER),
        ("x$ORIGIN", Stray.CURRENT_FOLDER),
    ],
)
def test_an_entry_that_must_not_be_in_a_wheel_is_called_stray(entry: str, why: Stray) -> None:
    assert target(entry, UMATH) is why


@pytest.mark.parametrize(
    ("at", "directory", "entry"),
    [
        ("numpy/linalg/_umath_linalg.so", "scipy_openblas64/lib", "../../scipy_openblas64/lib"),
        ("numpy/a.so", "numpy", ""),
        ("a.so", "prov/lib", "prov/lib"),
        ("a.so", "", ""),
        ("pkg/a.so", "", ".."),
        ("pkg/a.so", "pkg/.libs", ".libs"),
    ],
)
def test_the_entry_to_a_folder_leads_there(at: str, directory: str, entry: str) -> None:
    written = entry_to(SitePath(at), SitePath(directory))

    assert written == ("$ORIGIN/" + entry if entry else "$ORIGIN")
    assert target(written, SitePath(at)) == directory


def test_good_entries_stay_as_they_are_spelled_each_folder_once() -> None:
    entries = ("$ORIGIN/../../numpy.libs", "$ORIGIN", "${ORIGIN}/../../numpy.libs", "$ORIGIN/./")

    assert cleaned(entries, UMATH, refuse) == ("$ORIGIN/../../numpy.libs", "$ORIGIN")


def refuse(entry: str) -> str:
    raise AssertionError(entry)


def test_stray_entries_are_mended_or_dropped() -> None:
    mended = {"/build/numpy.libs": "$ORIGIN/../../numpy.libs", "/build/out": "/still/absolute"}

    assert cleaned(("/build/numpy.libs", "/build/out", "", "$ORIGIN"), UMATH, mended.get) == (
        "$ORIGIN/../../numpy.libs",
        "$ORIGIN",
    )
