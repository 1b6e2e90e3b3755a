"""Small facts, made on the spot: images, wheels, providers, policies, and plans of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import planning, platform_tag, reaching, tags
from extlib_repair.dependency import parse_request
from extlib_repair.layout import basename, folder
from extlib_repair.loaders import Mode
from extlib_repair.model import (
    BinaryFacts,
    Chosen,
    Finding,
    Format,
    Image,
    Import,
    Kind,
    Member,
    Plan,
    Policy,
    Project,
    Provider,
    ProviderLibrary,
    RunPath,
    RunPathKind,
    Shipped,
    Signature,
    System,
    WheelFacts,
    WheelName,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from extlib_repair.model import MacVersion

LIB64 = "libscipy_openblas64_.so"
LIB32 = "libscipy_openblas.so"
SITE64 = f"scipy_openblas64/lib/{LIB64}"
SITE32 = f"scipy_openblas32/lib/{LIB32}"
DGEMM64 = "scipy_cblas_dgemm64_"
DGEMM32 = "scipy_cblas_dgemm"
C_NAMES = frozenset({"malloc", "dladdr"})
SHIPPED = Shipped(
    c_names=C_NAMES,
    system_libraries=frozenset({"libc.so.6", "libm.so.6"}),
    windows_libraries=frozenset({"kernel32.dll"}),
)


def elf(
    needed: Sequence[str] = (),
    search: Sequence[str] = (),
    imports: Iterable[str | Import] = (),
    exports: Iterable[str] = (),
    *,
    name: str = "",
    kind: Kind = Kind.EXTENSION_MODULE,
    style: RunPathKind = RunPathKind.RPATH,
    ignored: Sequence[str] = (),
    versions: Sequence[str] = (),
    arch: str = "x86_64",
) -> Image:
    return Image(
        format=Format.ELF,
        kind=kind,
        arch=arch,
        name=name,
        needed=tuple(needed),
        run_path=RunPath(entries=tuple(search), kind=style) if search else None,
        ignored_run_path=tuple(ignored),
        imports=frozenset(i if isinstance(i, Import) else Import(i) for i in imports),
        exports=frozenset(exports),
        versions=tuple(versions),
    )


def macho(
    needed: Sequence[str] = (),
    search: Sequence[str] = (),
    imports: Mapping[str, Iterable[str]] | None = None,
    exports: Iterable[str] = (),
    *,
    weak: Iterable[str] = (),
    reexported: Iterable[str] = (),
    name: str = "",
    kind: Kind = Kind.EXTENSION_MODULE,
    arch: str = "arm64",
    signature: Signature = Signature.AD_HOC,
    header_room: int = 4096,
    minimum_os: MacVersion | None = None,
    compatibility: MacVersion = (0, 0, 0),
    asking: Mapping[str, MacVersion] | None = None,
) -> Image:
    """Return a slice; imports stand by the needed name that supplies them, weak ones too.

    ``asking`` holds the compatibility versions of needed names.
    """
    asked = [(library, symbol) for library, names in (imports or {}).items() for symbol in names]
    return Image(
        format=Format.MACHO,
        kind=kind,
        arch=arch,
        name=name,
        needed=tuple(needed),
        run_path=RunPath(entries=tuple(search), kind=RunPathKind.LC_RPATH) if search else None,
        imports=frozenset(Import(s, library=li, weak=s in set(weak)) for li, s in asked),
        exports=frozenset(exports),
        reexported=frozenset(reexported),
        signature=signature,
        header_room=header_room,
        minimum_os=minimum_os,
        compatibility=compatibility,
        needed_compatibility=frozenset((asking or {}).items()),
    )


def members(*names: str) -> tuple[Member, ...]:
    return tuple(map(Member, names))


def images(of: Mapping[str, Image]) -> Mapping[Member, Image]:
    return {Member(member): image for member, image in of.items()}


def wheel(
    of: Mapping[str, Image],
    *,
    requires: Sequence[str] = (),
    platforms: Sequence[str] = ("manylinux_2_28_x86_64",),
    files: Sequence[str] = (),
) -> WheelFacts:
    return WheelFacts(
        name=WheelName(
            distribution="demo",
            version="1.0",
            pythons=("cp311",),
            abis=("cp311",),
            platforms=tuple(platforms),
        ),
        project=Project("demo"),
        dist_info="demo-1.0.dist-info",
        members=members(*of, *files, "demo-1.0.dist-info/METADATA"),
        binaries=frozen_mapping(
            (Member(member), BinaryFacts(format=Format.ELF, images=(image,)))
            for member, image in of.items()
        ),
        requirements=tuple(requires),
    )


def macos_wheel(
    of: Mapping[str, Image | Sequence[Image]],
    *,
    platforms: Sequence[str] = ("macosx_11_0_arm64",),
    files: Sequence[str] = (),
) -> WheelFacts:
    """Return a wheel of thin and fat files."""
    slices = {m: (i,) if isinstance(i, Image) else tuple(i) for m, i in of.items()}
    return dataclasses.replace(
        wheel({m: first for m, (first, *_) in slices.items()}, platforms=platforms, files=files),
        binaries=frozen_mapping(
            (Member(m), BinaryFacts(format=Format.MACHO, images=i)) for m, i in slices.items()
        ),
    )


def dylib(
    exports: Iterable[str] = (),
    *,
    name: str,
    arch: str = "arm64",
    needed: Sequence[str] = ("/usr/lib/libSystem.B.dylib",),
    reexported: Iterable[str] = (),
    minimum_os: MacVersion | None = None,
    compatibility: MacVersion = (0, 0, 0),
) -> Image:
    return macho(
        needed,
        exports=exports,
        name=name,
        arch=arch,
        reexported=reexported,
        kind=Kind.SHARED_LIBRARY,
        minimum_os=minimum_os,
        compatibility=compatibility,
    )


def macos_provider(
    project: str,
    *slices: Image,
    path: str = "prov/lib/libprov.dylib",
    platforms: Sequence[str] = ("macosx_11_0_arm64",),
    rules: Policy | None = None,
) -> Provider:
    """Return a provider of one library, with one image for each slice."""
    first, *more = slices
    made = provider(project, {path: first}, platforms=platforms, rules=rules)
    libraries = {n: dataclasses.replace(li, more=tuple(more)) for n, li in made.libraries.items()}
    return dataclasses.replace(made, libraries=frozen_mapping(libraries.items()))


def pe(
    needed: Sequence[str] = (),
    imports: Mapping[str, Iterable[str]] | None = None,
    exports: Iterable[str] = (),
    *,
    delayed: Iterable[str] = (),
    name: str = "",
    kind: Kind = Kind.EXTENSION_MODULE,
    arch: str = "amd64",
    signature: Signature = Signature.NONE,
    load_flags: int = 0,
) -> Image:
    """Return an image for Windows; imports stand by the needed name that supplies them."""
    asked = [(library, symbol) for library, names in (imports or {}).items() for symbol in names]
    return Image(
        format=Format.PE,
        kind=kind,
        arch=arch,
        name=name,
        needed=tuple(needed),
        delayed=frozenset(delayed),
        imports=frozenset(Import(symbol, library=library) for library, symbol in asked),
        exports=frozenset(exports),
        signature=signature,
        load_flags=load_flags,
    )


def dll(
    exports: Iterable[str] = (),
    needed: Sequence[str] = ("KERNEL32.dll",),
    *,
    name: str = "",
    arch: str = "amd64",
) -> Image:
    return pe(needed, exports=exports, name=name, arch=arch, kind=Kind.SHARED_LIBRARY)


def windows_wheel(
    of: Mapping[str, Image],
    *,
    sources: Mapping[str, str] | None = None,
    platforms: Sequence[str] = ("win_amd64",),
    files: Sequence[str] = (),
    requires: Sequence[str] = (),
) -> WheelFacts:
    """Return a wheel with Python files that a loader can be put into."""
    texts = sources or {}
    return dataclasses.replace(
        wheel(of, platforms=platforms, files=[*texts, *files], requires=requires),
        binaries=frozen_mapping(
            (Member(m), BinaryFacts(format=image.format, images=(image,)))
            for m, image in of.items()
        ),
        sources=frozen_mapping((Member(m), text.encode()) for m, text in texts.items()),
    )


def policy(project: str, prefix: str = "", suffix: str = "") -> Policy:
    return Policy(
        project=Project(project),
        source="a test",
        libraries=(),
        symbol_prefix=prefix,
        symbol_suffix=suffix,
    )


def provider(
    project: str,
    libraries: Mapping[str, Image],
    *,
    version: str = "1.0",
    platforms: Sequence[str] = ("manylinux_2_27_x86_64", "manylinux_2_28_x86_64"),
    private: Iterable[str] = (),
    rules: Policy | None = None,
) -> Provider:
    """Return a provider of libraries, which are given by their path below site-packages."""
    return Provider(
        project=Project(project),
        version=version,
        platforms=tuple(platforms),
        libraries=frozen_mapping(
            (basename(path), ProviderLibrary(name=basename(path), directory=folder(path), image=i))
            for path, i in libraries.items()
        ),
        private=frozenset(private),
        policy=rules,
        source="a test",
    )


def library(
    exports: Iterable[str] = (), needed: Sequence[str] = ("libc.so.6",), name: str = ""
) -> Image:
    return elf(needed, exports=exports, kind=Kind.SHARED_LIBRARY, name=name)


OPENBLAS64 = provider(
    "scipy-openblas64",
    {SITE64: library([DGEMM64])},
    version="0.3.30",
    rules=policy("scipy-openblas64", "scipy_", "64_"),
)
OPENBLAS32 = provider(
    "scipy-openblas32",
    {SITE32: library([DGEMM32])},
    version="0.3.29",
    rules=policy("scipy-openblas32", "scipy_"),
)
PLAIN = provider("plain-foo", {"foo/libfoo.so.5": library(["foo"])})
"""A provider without a policy, and so without marks."""


PROV = macos_provider("prov", dylib(["prov_add", "prov_sub"], name="@rpath/libprov.dylib"))
"""A provider for macOS; its symbols have no marks."""

DLL = "prov.dll"
WINDOWS = provider(
    "prov", {f"prov/lib/{DLL}": dll(["prov_add", "prov_sub"], name=DLL)}, platforms=["win_amd64"]
)
"""A provider for Windows."""

MARKED = dataclasses.replace(PROV, policy=policy("prov", "prov_"))


def chosen(one: Provider, specifier: str = "", built_against: str = "") -> Chosen:
    request = parse_request(f"{one.project}{specifier}")
    return Chosen(provider=one, request=dataclasses.replace(request, built_against=built_against))


def planned(
    facts: WheelFacts,
    *providers: Provider | Chosen,
    style: RunPathKind = RunPathKind.RPATH,
    sanitize: bool = False,
    plat: str = "",
    keep: bool = False,
    default: str = "",
    add_needed: bool = False,
    require: bool = False,
    resign: bool = False,
    drop_signature: bool = False,
    mode: Mode | None = None,
) -> Plan:
    """Return a plan; wheels for other systems than Windows get loaders only where that is said."""
    is_windows = tags.system_of(facts.name.platforms) is System.WINDOWS
    usual = Mode.AUTO if is_windows else Mode.NEVER
    options = planning.Options(
        style=reaching.Style(kind=style, sanitize=sanitize),
        promise=platform_tag.Promise(stated=plat, keep=keep, default=default),
        add_needed=add_needed,
        require_provided=require,
        resign=resign,
        drop_signature=drop_signature,
        loader=mode or usual,
    )
    choices = [chosen(p) if isinstance(p, Provider) else p for p in providers]
    return planning.plan(facts, choices, options, SHIPPED)


def codes(findings: Iterable[Finding]) -> list[str]:
    """Return code and severity of findings, apart from the floor, which is always there."""
    return [f"{f.severity} {f.code}" for f in findings if f.code != "floor"]


def rendered(findings: Iterable[Finding]) -> str:
    lines = []
    for finding in findings:
        where = f"{finding.member}: " if finding.member else ""
        lines.append(f"{finding.severity}: {where}{finding.message} [{finding.code}]\n")
        lines += [f"  hint: {finding.hint}\n"] if finding.hint else []
    return "".join(lines)
