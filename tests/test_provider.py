"""A provider's wheel, or its installed distribution -> Provider."""

from __future__ import annotations

import sys
import zipfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from macho_files import FILES
from wheels import dist_info, make_wheel, read_wheel

from extlib_repair import process, provider
from extlib_repair.errors import (
    PolicyError,
    ProviderMismatchError,
    ProviderNotFoundError,
    UsageError,
)
from extlib_repair.model import Kind, Project, Provider, System
from extlib_repair.provider import Sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEMO = resources.files("extlib_repair") / "data" / "demo"
LIBRARY = read_wheel(Path(str(DEMO / "extlib_demo_matrix-1.0-py3-none-manylinux_2_17_x86_64.whl")))[
    "extlib_demo_matrix/lib/libdemo_matrix.so"
]
MODULE = read_wheel(Path(str(DEMO / "extlib_demo-1.0-cp311-abi3-linux_x86_64.whl")))[
    "extlib_demo/_product.abi3.so"
]
TAG = "py3-none-manylinux_2_17_x86_64"
FOO = Project("my-foo")
POLICY = (
    'schema = 1\nproject = "my-foo"\n[symbols]\nprefix = "{prefix}"\n[[libraries]]\n'
    'system = "linux"\ndirectory = "{directory}"\nname = "libfoo.so"\n'
)
OWN_POLICY = "my_foo-1.0.dist-info/extlib-repair.toml"


def foo(folder: Path, files: Mapping[str, bytes], tag: str = TAG, version: str = "1.0") -> Path:
    return make_wheel(folder, files, name="my_foo", version=version, tag=tag)


def found(*wheels: Path, policies: Sequence[Path] = (), arch: str = "x86_64") -> Provider:
    sources = Sources(wheels=wheels, policies=tuple(policies))
    return provider.find(FOO, sources, System.LINUX, arch)


def misfit(*wheels: Path, policies: Sequence[Path] = (), arch: str = "x86_64") -> str:
    """Return the message that says why a provider does not fit."""
    with pytest.raises(ProviderMismatchError) as caught:
        found(*wheels, policies=policies, arch=arch)
    return str(caught.value)


def stated(
    folder: Path, prefix: str = "", directory: str = "foo/lib", name: str = "foo.toml"
) -> Path:
    path = folder / name
    path.write_text(POLICY.format(prefix=prefix, directory=directory))
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return foo(tmp_path, {"foo/lib/libfoo.so": LIBRARY, "foo/__init__.py": b""})


class Pythons:
    """Stand-ins for interpreters: the same one, with another folder of packages each."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._run = process.run
        monkeypatch.setattr(process, "run", self._run_in)

    def install(
        self,
        python: str,
        files: Mapping[str, bytes],
        *,
        tag: str = TAG,
        name: str = "my_foo",
        version: str = "1.0",
    ) -> Path:
        site = self._folder / python
        for path, data in {**files, **dist_info(files, name, version, tag)}.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(data)
        return site

    def found(self, python: str | None = None) -> Provider:
        return provider.find(FOO, Sources(python=python), System.LINUX, "x86_64")

    def _run_in(self, arguments: Sequence[str]) -> process.Completed:
        python, *rest = arguments
        if python.startswith("no-such"):
            raise FileNotFoundError(2, "No such file or directory")
        if python.startswith("broken"):
            return process.Completed(returncode=1, stdout="", stderr="\nit burns\n")
        return self._run([sys.executable, *rest], env={"PYTHONPATH": str(self._folder / python)})


@pytest.fixture
def pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pythons:
    monkeypatch.setattr(process, "pythons_on_path", lambda: ["first"])
    monkeypatch.setattr(process, "python", lambda: "ours")
    return Pythons(tmp_path, monkeypatch)


def test_a_wheel_is_read(whole: Path) -> None:
    result = found(whole)

    assert (result.project, result.version) == ("my-foo", "1.0")
    assert result.platforms == ("manylinux_2_17_x86_64",)
    assert result.source == "my_foo-1.0-py3-none-manylinux_2_17_x86_64.whl"
    assert (result.purelib, result.policy, result.private) == (False, None, frozenset())
    (library,) = result.libraries.values()
    assert (library.name, library.directory) == ("libfoo.so", "foo/lib")
    assert library.image.kind is Kind.SHARED_LIBRARY
    assert "demo_matrix_product_f64" in library.image.exports


def test_an_installed_distribution_is_read_like_its_wheel(whole: Path, pythons: Pythons) -> None:
    pythons.install("first", {"foo/lib/libfoo.so": LIBRARY, "foo/__init__.py": b""})

    result = pythons.found()

    assert result.source == "installed for first"
    assert result.libraries == found(whole).libraries
    assert (result.platforms, result.purelib) == (("manylinux_2_17_x86_64",), False)


def test_without_a_policy_the_record_is_enough(tmp_path: Path) -> None:
    result = found(
        foo(
            tmp_path,
            {
                "foo/lib/libfoo.so.5": LIBRARY,
                "my_foo-1.0.data/platlib/libtop.so": LIBRARY,
                "foo/_module.abi3.so": MODULE,
                "foo/libscript.so": b"INPUT(libfoo.so.5)\n",
                "a/libtwice.so": LIBRARY,
                "b/libtwice.so": LIBRARY,
                "my_foo.libs/libgfortran-040039e1.so.5.0.0": LIBRARY,
                "my_foo.libs/msvcp140-0123456789abcdef0123456789abcdef.dll": b"MZ",
                "my_foo-1.0.data/data/lib/libdata.so": LIBRARY,
            },
        )
    )

    assert {name: li.directory for name, li in result.libraries.items()} == {
        "libfoo.so.5": "foo/lib",
        "libtop.so": "",
    }
    assert result.private == {
        "libgfortran-040039e1.so.5.0.0",
        "msvcp140-0123456789abcdef0123456789abcdef.dll",
    }


def test_a_private_name_that_the_policy_states_is_not_private(tmp_path: Path) -> None:
    rules = stated(tmp_path)
    rules.write_text(rules.read_text().replace("libfoo.so", "libfoo-01234567.so"))

    result = found(foo(tmp_path, {"foo/lib/libfoo-01234567.so": LIBRARY}), policies=[rules])

    assert (list(result.libraries), result.private) == (["libfoo-01234567.so"], frozenset())


def test_the_providers_own_policy_states_its_libraries(tmp_path: Path) -> None:
    files = {
        "foo/lib/libfoo.so": LIBRARY,
        "foo/lib/libmore.so": LIBRARY,
        OWN_POLICY: POLICY.format(prefix="own_", directory="foo/lib").encode(),
        "foo/_vendor/x-1.dist-info/extlib-repair.toml": b"schema = 99",
    }

    result = found(foo(tmp_path, files))

    assert list(result.libraries) == ["libfoo.so"]
    assert result.policy is not None
    assert result.policy.symbol_prefix == "own_"
    assert result.policy.source == "extlib-repair.toml of my-foo 1.0"


def test_the_providers_own_policy_beats_the_built_in_one(tmp_path: Path) -> None:
    own = POLICY.format(prefix="own_", directory="foo").replace("my-foo", "scipy-openblas64")
    wheel = make_wheel(
        tmp_path,
        {
            "foo/libfoo.so": LIBRARY,
            "scipy_openblas64-1.0.dist-info/extlib-repair.toml": own.encode(),
        },
        name="scipy_openblas64",
        tag=TAG,
    )
    project = Project("scipy-openblas64")

    result = provider.find(project, Sources(wheels=(wheel,)), System.LINUX, "x86_64")

    assert list(result.libraries) == ["libfoo.so"]


def test_a_policy_that_is_given_beats_both(tmp_path: Path) -> None:
    own = POLICY.format(prefix="own_", directory="foo/lib").encode()
    files = {"foo/lib/libfoo.so": LIBRARY, "other/libfoo.so": LIBRARY, OWN_POLICY: own}
    rules = stated(tmp_path, "given_", "other")

    result = found(foo(tmp_path, files), policies=[rules])

    assert result.libraries["libfoo.so"].directory == "other"
    assert result.policy is not None
    assert result.policy.symbol_prefix == "given_"


def test_a_given_policy_of_another_project_changes_nothing(tmp_path: Path, whole: Path) -> None:
    other = stated(tmp_path)
    other.write_text(other.read_text().replace("my-foo", "bar"))

    assert found(whole, policies=[other]).policy is None


def test_the_built_in_policy_is_found_by_name(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        {"scipy_openblas64/lib/libscipy_openblas64_.so": LIBRARY},
        name="scipy_openblas64",
        tag=TAG,
    )
    project = Project("scipy-openblas64")

    result = provider.find(project, Sources(wheels=(wheel,)), System.LINUX, "x86_64")

    assert list(result.libraries) == ["libscipy_openblas64_.so"]
    assert result.policy is not None
    assert result.policy.source == "built in"


def test_an_own_policy_about_another_project_is_refused(tmp_path: Path) -> None:
    text = POLICY.format(prefix="", directory="foo").replace("my-foo", "bar")
    wheel = foo(tmp_path, {"foo/libfoo.so": LIBRARY, OWN_POLICY: text.encode()})

    with pytest.raises(PolicyError) as caught:
        found(wheel)

    assert str(caught.value) == (
        "extlib-repair.toml of my-foo 1.0: project is 'bar', which is another one"
    )


def test_a_bad_own_policy_names_its_wheel(tmp_path: Path) -> None:
    wheel = foo(tmp_path, {OWN_POLICY: b"schema = 1\nproject = '\xff'\nlibrary = 1\n"})

    with pytest.raises(PolicyError) as caught:
        found(wheel)

    assert str(caught.value) == "extlib-repair.toml of my-foo 1.0: unknown key 'library'"


def test_a_release_without_the_stated_file_lists_what_is_there(tmp_path: Path) -> None:
    wheel = foo(tmp_path, {"foo/lib/libold.so.1": LIBRARY, "foo/lib/libgcc-01234567.so": LIBRARY})

    assert misfit(wheel, policies=[stated(tmp_path)]) == (
        "my-foo 1.0 (my_foo-1.0-py3-none-manylinux_2_17_x86_64.whl) does not hold "
        f"foo/lib/libfoo.so, which its policy ({tmp_path / 'foo.toml'}) states; it holds "
        "libgcc-01234567.so, libold.so.1"
    )


def test_a_release_without_libraries_says_so(tmp_path: Path) -> None:
    wheel = foo(tmp_path, {"foo/x.txt": b""})

    assert misfit(wheel, policies=[stated(tmp_path, directory="")]).endswith("it holds no library")
    assert dict(found(wheel).libraries) == {}


def test_a_policy_without_an_entry_for_the_platform_is_refused(tmp_path: Path, whole: Path) -> None:
    rules = stated(tmp_path)
    rules.write_text(rules.read_text().replace('"linux"', '"macos"'))

    assert misfit(whole, policies=[rules]) == (
        f"the policy of my-foo ({rules}) states no library for linux x86_64"
    )


@pytest.mark.parametrize("tag", ["py3-none-win_amd64", "py3-none-manylinux_2_17_aarch64"])
def test_a_wheel_for_another_platform_is_refused(tmp_path: Path, tag: str) -> None:
    platform = tag.rpartition("-")[2]

    assert misfit(foo(tmp_path, {"foo/libfoo.so": LIBRARY}, tag)) == (
        f"my-foo 1.0 (my_foo-1.0-{tag}.whl) is for {platform}, and the consumer for linux x86_64"
    )


def test_of_several_wheels_of_a_project_the_one_that_fits_is_taken(tmp_path: Path) -> None:
    wheels = [
        foo(tmp_path, {"foo/libfoo.so": LIBRARY}, f"py3-none-manylinux_2_17_{arch}")
        for arch in ("aarch64", "x86_64", "i686")
    ]

    assert found(*wheels).platforms == ("manylinux_2_17_x86_64",)
    assert "is for manylinux_2_17_aarch64" in misfit(*wheels, arch="s390x")


def test_a_wheel_that_does_not_fit_is_not_replaced_by_what_is_installed(
    tmp_path: Path, pythons: Pythons
) -> None:
    pythons.install("first", {"foo/libfoo.so": LIBRARY})

    assert "is for win_amd64" in misfit(foo(tmp_path, {}, "py3-none-win_amd64"))


def test_a_wheel_for_any_platform_is_judged_by_its_libraries(tmp_path: Path) -> None:
    wheel = foo(tmp_path, {"my_foo-1.0.data/platlib/foo/libfoo.so": LIBRARY}, "py3-none-any")

    result = found(wheel)

    assert (list(result.libraries), result.purelib) == (["libfoo.so"], True)


@pytest.mark.parametrize("size", [3, 60, 400, 5000])
def test_a_truncated_library_is_named(tmp_path: Path, size: int) -> None:
    wheel = foo(tmp_path, {"foo/lib/libfoo.so": LIBRARY[:size]})

    message = misfit(wheel, policies=[stated(tmp_path)])

    assert message.startswith(
        "my-foo 1.0 (my_foo-1.0-py3-none-manylinux_2_17_x86_64.whl): foo/lib/libfoo.so: "
    )


def test_a_damaged_member_is_named(tmp_path: Path, whole: Path) -> None:
    data = bytearray(whole.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        start = archive.getinfo("foo/lib/libfoo.so").header_offset
    data[start + 200] ^= 0xFF
    whole.write_bytes(data)

    assert "foo/lib/libfoo.so" in misfit(whole, policies=[stated(tmp_path)])


def test_a_version_that_is_none_is_refused(tmp_path: Path) -> None:
    wheel = foo(tmp_path, {})
    text = read_wheel(wheel)
    wheel.unlink()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in text.items():
            archive.writestr(name, data.replace(b"Version: 1.0\n\n", b"Version: new\n\n"))

    assert misfit(wheel) == (
        "my-foo new (my_foo-1.0-py3-none-manylinux_2_17_x86_64.whl): 'new' is not a version that a "
        "requirement can name"
    )


def test_wheels_of_projects_that_nobody_names_are_refused(whole: Path) -> None:
    provider.check_sources([FOO], Sources(wheels=(whole,)))
    with pytest.raises(UsageError) as caught:
        provider.check_sources([Project("bar")], Sources(wheels=(whole,)))

    assert str(caught.value) == (
        "--provider-wheel my_foo-1.0-py3-none-manylinux_2_17_x86_64.whl is a wheel of my-foo, "
        "which no --provided-by names"
    )
    assert caught.value.hint == "add --provided-by my-foo"


def test_policies_of_projects_that_nobody_names_are_refused(tmp_path: Path) -> None:
    sources = Sources(policies=(stated(tmp_path),))

    provider.check_sources([FOO], sources)
    with pytest.raises(UsageError) as caught:
        provider.check_sources([], sources)

    assert str(caught.value) == "--policy foo.toml is about my-foo, which no --provided-by names"
    assert caught.value.hint == "add --provided-by my-foo"


def test_a_wheel_of_another_project_is_not_the_provider(tmp_path: Path, pythons: Pythons) -> None:
    pythons.install("first", {"foo/libfoo.so": LIBRARY})
    other = make_wheel(tmp_path, {"libbar.so": LIBRARY}, name="bar", tag=TAG)

    assert found(other).source == "installed for first"


def test_the_second_python_is_asked_when_the_first_has_nothing(pythons: Pythons) -> None:
    pythons.install("ours", {"foo/libfoo.so": LIBRARY})

    assert pythons.found().source == "installed for ours"


def test_the_second_python_is_asked_when_the_first_has_what_does_not_fit(pythons: Pythons) -> None:
    pythons.install("first", {"foo/libfoo.so": LIBRARY}, tag="py3-none-manylinux_2_17_aarch64")
    pythons.install("ours", {"foo/libfoo.so": LIBRARY})

    assert pythons.found().source == "installed for ours"


def test_what_does_not_fit_anywhere_is_an_error(pythons: Pythons) -> None:
    pythons.install("first", {"foo/libfoo.so": LIBRARY}, tag="py3-none-manylinux_2_17_aarch64")

    with pytest.raises(ProviderMismatchError, match=r"installed for first\) is for manylinux_2_17"):
        pythons.found()


def test_a_python_that_is_named_is_the_only_one_asked(pythons: Pythons) -> None:
    pythons.install("first", {"foo/libfoo.so": LIBRARY})
    pythons.install("named", {"foo/libfoo.so": LIBRARY})

    assert pythons.found("named").source == "installed for named"
    with pytest.raises(ProviderNotFoundError, match=r"looked in other \(not there\)$"):
        pythons.found("other")


def test_what_is_nowhere_is_an_error_that_says_where_it_was_looked_for(
    pythons: Pythons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "pythons_on_path", lambda: ["no-such-python"])

    with pytest.raises(ProviderNotFoundError) as caught:
        pythons.found()

    assert str(caught.value) == (
        "the provider my-foo is not installed (and no built-in policy knows it; scipy-openblas32, "
        "scipy-openblas64 are); looked in no-such-python (cannot be run: No such file or "
        "directory); ours (not there)"
    )
    assert caught.value.hint == (
        "pip install my-foo into that Python, or give --provider-wheel FILE or "
        "--provider-python PYTHON, or --fetch"
    )


def test_without_a_python_on_path_ours_is_asked(
    pythons: Pythons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "pythons_on_path", list)
    pythons.install("ours", {"foo/libfoo.so": LIBRARY})

    assert pythons.found().source == "installed for ours"


def test_a_python_that_fails_is_quoted(pythons: Pythons) -> None:
    with pytest.raises(ProviderNotFoundError, match=r"looked in broken \(it burns\)$"):
        pythons.found("broken")


def test_a_python_without_the_means_is_quoted(pythons: Pythons, tmp_path: Path) -> None:
    (tmp_path / "old" / "importlib").mkdir(parents=True)
    (tmp_path / "old" / "importlib" / "__init__.py").write_text("")

    with pytest.raises(ProviderNotFoundError, match=r"looked in old \(ImportError: "):
        pythons.found("old")


def test_a_python_that_talks_first_is_understood(pythons: Pythons) -> None:
    site = pythons.install("first", {"foo/libfoo.so": LIBRARY})
    (site / "sitecustomize.py").write_text("print('hello')\n")

    assert list(pythons.found().libraries) == ["libfoo.so"]


def test_a_file_that_is_listed_and_not_there_is_named(pythons: Pythons) -> None:
    site = pythons.install("first", {"foo/libfoo.so": LIBRARY})
    (site / "foo" / "libfoo.so").unlink()

    with pytest.raises(ProviderMismatchError) as caught:
        pythons.found()

    assert str(caught.value) == (
        "my-foo 1.0 (installed for first) lists foo/libfoo.so, which cannot be read: No such file "
        "or directory"
    )
    assert caught.value.hint == "reinstall it: pip install --force-reinstall my-foo"


def test_files_outside_site_packages_are_no_libraries(pythons: Pythons) -> None:
    site = pythons.install("first", {"foo/libfoo.so": LIBRARY})
    record = site / "my_foo-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text() + "../../lib/libout.so,,\n/opt/lib/libabs.so,,\n")

    assert list(pythons.found().libraries) == ["libfoo.so"]


def test_the_files_of_vendored_distributions_do_not_count(pythons: Pythons) -> None:
    vendored = "foo/_vendor/x-1.dist-info/WHEEL"
    pythons.install(
        "first",
        {"foo/libfoo.so": LIBRARY, vendored: b"Root-Is-Purelib: true\nTag: py3-none-win32\n"},
    )

    result = pythons.found()

    assert (result.platforms, result.purelib) == (("manylinux_2_17_x86_64",), False)


def test_an_installed_distribution_without_a_tag_is_judged_by_its_libraries(
    pythons: Pythons,
) -> None:
    site = pythons.install("first", {"foo/libfoo.so": LIBRARY})
    info = site / "my_foo-1.0.dist-info"
    (info / "WHEEL").unlink()
    record = [line for line in (info / "RECORD").read_text().splitlines() if "WHEEL" not in line]
    (info / "RECORD").write_text("\n".join(record))

    result = pythons.found()

    assert (list(result.libraries), result.platforms, result.purelib) == (["libfoo.so"], (), False)


def test_an_installed_distribution_without_a_record_has_no_files(pythons: Pythons) -> None:
    site = pythons.install("first", {"foo/libfoo.so": LIBRARY})
    (site / "my_foo-1.0.dist-info" / "RECORD").unlink()

    assert dict(pythons.found().libraries) == {}


FAT = FILES["libprov.dylib"]


def for_macos(wheel: Path, arch: str, policies: Sequence[Path] = ()) -> Provider:
    sources = Sources(wheels=(wheel,), policies=tuple(policies))
    return provider.find(FOO, sources, System.MACOS, arch)


@pytest.mark.parametrize("arch", ["arm64", "x86_64", "universal2"])
def test_a_fat_library_has_an_image_for_each_slice(tmp_path: Path, arch: str) -> None:
    """A universal2 wheel serves both machines, and those that need both."""
    wheel = foo(tmp_path, {"foo/lib/libfoo.dylib": FAT}, "py3-none-macosx_11_0_universal2")

    (library,) = for_macos(wheel, arch).libraries.values()

    assert (library.name, library.place) == ("libfoo.dylib", "foo/lib/libfoo.dylib")
    assert [image.arch for image in library.slices] == ["arm64", "x86_64"]
    assert library.image is library.slice_for("arm64")
    assert library.slice_for("x86_64") in library.more
    assert library.slice_for("arm64e") is None
    assert all("scipy_cblas_ddot64_" in image.exports for image in library.slices)


@pytest.mark.parametrize(
    ("platform", "arch"),
    [
        ("macosx_11_0_arm64", "universal2"),
        ("macosx_11_0_arm64", "x86_64"),
        ("macosx_10_9_x86_64", "arm64"),
        ("manylinux_2_17_x86_64", "x86_64"),
    ],
)
def test_a_wheel_for_other_machines_is_refused(tmp_path: Path, platform: str, arch: str) -> None:
    wheel = foo(tmp_path, {"foo/lib/libfoo.dylib": FAT}, f"py3-none-{platform}")

    with pytest.raises(ProviderMismatchError) as caught:
        for_macos(wheel, arch)

    assert str(caught.value).endswith(f"is for {platform}, and the consumer for macos {arch}")


@pytest.mark.parametrize("arch", ["arm64", "x86_64", "universal2"])
def test_a_policy_states_the_library_of_a_macos_wheel(tmp_path: Path, arch: str) -> None:
    rules = stated(tmp_path, prefix="scipy_")
    text = rules.read_text().replace('"linux"', '"macos"').replace("libfoo.so", "libfoo.dylib")
    rules.write_text(text)
    files = {"foo/lib/libfoo.dylib": FAT, "foo/lib/libother.dylib": FAT}
    wheel = foo(tmp_path, files, "py3-none-macosx_11_0_universal2")

    result = for_macos(wheel, arch, [rules])

    assert list(result.libraries) == ["libfoo.dylib"]
    assert result.carried == {"libfoo.dylib", "libother.dylib"}


def test_a_truncated_dylib_is_named(tmp_path: Path) -> None:
    wheel = foo(tmp_path, {"foo/lib/libfoo.dylib": FAT[:5000]}, "py3-none-macosx_11_0_arm64")

    with pytest.raises(ProviderMismatchError, match=r"my-foo 1\.0: foo/lib/libfoo\.dylib: "):
        for_macos(wheel, "arm64")
