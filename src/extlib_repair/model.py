"""The values that the steps hand to each other: facts, edits, findings, plans.

Everything here is frozen, holds no open file and does no I/O. Mappings are typed ``Mapping`` and
are built by :func:`frozen_mapping`, so that a value can be shared without being copied.
"""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, NewType, TypeVar

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping

Member = NewType("Member", str)
"""The path of a file in a wheel's archive, with ``/``."""

SitePath = NewType("SitePath", str)
"""A path below site-packages after installation, with ``/``; the empty string is the root."""

Project = NewType("Project", str)
"""A project name as :func:`packaging.utils.canonicalize_name` gives it."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


MacVersion = tuple[int, int, int]
"""A version as Mach-O stores it: ``xxxx.yy.zz`` (``mach-o/loader.h``)."""


def frozen_mapping(items: Iterable[tuple[_Key, _Value]]) -> Mapping[_Key, _Value]:
    """Return a mapping that nobody can change."""
    return MappingProxyType(dict(items))


class System(StrEnum):
    """The kind of system that a platform tag promises."""

    ANY = "any"
    LINUX = "linux"
    MACOS = "macos"
    WINDOWS = "windows"
    ANDROID = "android"
    IOS = "ios"
    PYODIDE = "pyodide"
    UNKNOWN = "unknown"


class Libc(StrEnum):
    """The C library of a Linux system; the two cannot share a shared library."""

    GLIBC = "glibc"
    MUSL = "musl"


class Format(StrEnum):
    """The format of a binary."""

    ELF = "ELF"
    MACHO = "Mach-O"
    PE = "PE"


class Kind(StrEnum):
    """What a binary is for."""

    SHARED_LIBRARY = "shared library"
    EXTENSION_MODULE = "extension module"
    EXECUTABLE = "executable"
    OTHER = "other"
    """Relocatable objects, core dumps, debugging information: never loaded."""


class RunPathKind(StrEnum):
    """The two ELF tags for a run path, and Mach-O's load command.

    DT_RPATH comes before LD_LIBRARY_PATH and is inherited by the libraries that an image needs;
    DT_RUNPATH comes after it, is not inherited, and switches every DT_RPATH of its file off
    (ld.so(8)). dyld looks through the LC_RPATH entries of the whole chain of loading images.
    """

    RPATH = "DT_RPATH"
    RUNPATH = "DT_RUNPATH"
    LC_RPATH = "LC_RPATH"


class Signature(StrEnum):
    """Who vouches for the bytes of a Mach-O or PE image."""

    NONE = "none"
    AD_HOC = "ad-hoc"
    """Hashes without a signer: anybody can make them anew."""

    IDENTITY = "identity"
    """Signed with somebody's key: an edit would break it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunPath:
    """Where a loader looks for the libraries that an image needs."""

    entries: tuple[str, ...]
    """As stored, first searched first; an empty entry means the current folder."""

    kind: RunPathKind = RunPathKind.RPATH


class Import(NamedTuple):
    """An undefined dynamic symbol."""

    name: str
    version: str = ""
    """The symbol version that is asked for, or the empty string."""

    library: str = ""
    """ELF: the library that the version belongs to (``vn_file``). Mach-O and PE: the needed name in
    which the loader looks. Empty where the symbol may come from anywhere."""

    weak: bool = False
    """A weak import stays null when nobody defines it; it can never fail."""

    @property
    def key(self) -> str:
        """The spelling that :attr:`Image.exports` uses."""
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One loadable image: a whole ELF file, or one slice of a Mach-O file."""

    format: Format
    kind: Kind
    arch: str
    """In the spelling of platform tags: ``x86_64``, ``aarch64``, ``armv7l``, ..., of Windows
    ``amd64``, ``arm64``, ``x86`` (the tag ``win32``), and for the slices of Mach-O as Apple's tools
    spell it: ``arm64``, ``arm64e``, ``x86_64``, ..."""

    name: str = ""
    """The image's own name (DT_SONAME, LC_ID_DYLIB, PE's export directory), or the empty string."""

    needed: tuple[str, ...] = ()
    """Library names exactly as stored, in load order; for Mach-O, in the order that the ordinals of
    its imports count."""

    run_path: RunPath | None = None
    ignored_run_path: tuple[str, ...] = ()
    """Entries of a DT_RPATH beside a DT_RUNPATH: the loader ignores them."""

    imports: frozenset[Import] = frozenset()
    exports: frozenset[str] = frozenset()
    """Names that other images can bind to, in C's spelling (Mach-O: without the leading ``_``);
    with versions also ``name@VERSION``."""

    versions: tuple[str, ...] = ()
    """Symbol versions that the image defines; the first is often the name of the library."""

    weak_needed: frozenset[str] = frozenset()
    """Needed names that may be absent (LC_LOAD_WEAK_DYLIB)."""

    delayed: frozenset[str] = frozenset()
    """Needed names of a PE image that are only loaded at the first call (delay imports)."""

    load_flags: int = 0
    """``DependentLoadFlags`` of a PE image: which places the loader searches for what it needs; 0
    for the usual ones."""

    reexported: frozenset[str] = frozenset()
    """Needed names whose exports are the image's own, too (LC_REEXPORT_DYLIB)."""

    minimum_os: MacVersion | None = None
    """The oldest macOS that the image is for."""

    compatibility: MacVersion = (0, 0, 0)
    """The compatibility version of a library for macOS (LC_ID_DYLIB)."""

    needed_compatibility: frozenset[tuple[str, MacVersion]] = frozenset()
    """Needed names with the compatibility version that each must have, if any."""

    uuid: str = ""
    """Of which build it is, in hexadecimal: LC_UUID, or ELF's build id; empty where the linker left
    none. Tools that edit binaries keep it."""

    signature: Signature = Signature.NONE
    header_room: int = dataclasses.field(default=0, compare=False)
    """Bytes behind the load commands of a Mach-O image that hold nothing: what an edit can use."""

    @property
    def search(self) -> tuple[str, ...]:
        """The run path's entries, whatever its kind."""
        return self.run_path.entries if self.run_path else ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BinaryFacts:
    """What a binary file holds: one image for ELF and PE, one for each slice of a Mach-O file."""

    format: Format
    images: tuple[Image, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """The parts of a wheel's file name, spelled as in the file name.

    https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """

    distribution: str
    version: str
    build: str = ""
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    @property
    def filename(self) -> str:
        """The file name, with ``.whl``."""
        build = (self.build,) if self.build else ()
        tags = (".".join(self.pythons), ".".join(self.abis), ".".join(self.platforms))
        return "-".join((self.distribution, self.version, *build, *tags)) + ".whl"

    @property
    def tags(self) -> tuple[str, ...]:
        """The expanded tags, as the ``Tag`` lines of WHEEL spell them."""
        return tuple(
            f"{python}-{abi}-{platform}"
            for python in self.pythons
            for abi in self.abis
            for platform in self.platforms
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WheelFacts:
    """What is known of a wheel."""

    name: WheelName
    project: Project
    dist_info: str
    """The name of the ``.dist-info`` folder."""

    members: tuple[Member, ...]
    """Every file, in the order of the archive; folders are left out."""

    binaries: Mapping[Member, BinaryFacts]
    requirements: tuple[str, ...] = ()
    """The values of ``Requires-Dist``, unfolded, as they stand."""

    examined: str = ""
    """What was examined when the wheel was repaired; empty for one that was not."""

    sources: Mapping[Member, bytes] = dataclasses.field(default_factory=dict)
    """The Python files of packages with binaries that a loader could be put into: every
    ``__init__.py`` on the way to a binary, and ``_distributor_init.py`` of the first package."""

    @property
    def image_map(self) -> Mapping[Member, Image]:
        """Every image by the member that holds it: for ELF and PE, whose files hold one each."""
        return {member: image for member, b in self.binaries.items() for image in b.images}

    @property
    def needs(self) -> frozenset[tuple[Member, str]]:
        """Every needed name of every image, with the member that holds the image."""
        return frozenset(
            (member, name)
            for member, binary in self.binaries.items()
            for image in binary.images
            for name in image.needed
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLibrary:
    """A library that a provider supplies on some platforms."""

    name: str
    """The file name, which is the needed name of the consumers."""

    directory: SitePath
    system: System
    architectures: tuple[str, ...] = ()
    """As in platform tags; empty for every architecture."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is known of a provider beyond its files."""

    project: Project
    source: str
    """For messages: the file, or ``built in``."""

    libraries: tuple[PolicyLibrary, ...]
    symbol_prefix: str = ""
    symbol_suffix: str = ""

    def marks(self, symbol: str) -> bool:
        """Whether a symbol's spelling alone says that it is this provider's."""
        return bool(self.symbol_prefix or self.symbol_suffix) and (
            symbol.startswith(self.symbol_prefix)
            and symbol.endswith(self.symbol_suffix)
            and len(symbol) > len(self.symbol_prefix) + len(self.symbol_suffix)
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLibrary:
    """A shared library that a provider supplies to others."""

    name: str
    """The file name, which a run path finds."""

    directory: SitePath
    image: Image
    """The first slice of a Mach-O file; the only image of others."""

    more: tuple[Image, ...] = ()
    """The other slices of a Mach-O file."""

    @property
    def slices(self) -> tuple[Image, ...]:
        """Every image of the file."""
        return (self.image, *self.more)

    @property
    def place(self) -> SitePath:
        """The path of the file."""
        return SitePath(f"{self.directory}/{self.name}".lstrip("/"))

    def slice_for(self, arch: str) -> Image | None:
        """Return the image for an architecture, or None."""
        return next((image for image in self.slices if image.arch == arch), None)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A distribution that supplies shared libraries to others, as it was examined."""

    project: Project
    version: str
    platforms: tuple[str, ...]
    """Platform tags of the wheel, as in its file name or its WHEEL."""

    libraries: Mapping[str, ProviderLibrary]
    """By file name."""

    private: frozenset[str] = frozenset()
    """File names of the copies that a repair tool gave it for its own use: a later release has
    others."""

    carried: frozenset[str] = frozenset()
    """File names of everything in it that looks like a library."""

    requires_python: str = ""
    purelib: bool = False
    policy: Policy | None = None
    source: str
    """For messages: where it was found."""

    @property
    def label(self) -> str:
        """Name and version, for messages."""
        return f"{self.project} {self.version}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """What the user says of a provider: ``--provided-by`` and its relatives."""

    project: Project
    specifier: str = ""
    """Verbatim, or the empty string."""

    built_against: str = ""
    """A version, or the empty string."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A provider as it was found, with what the user said of it."""

    provider: Provider
    request: ProviderRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """Names that are shipped as data."""

    c_names: frozenset[str] = frozenset()
    """Symbols that the C libraries define."""

    system_libraries: frozenset[str] = frozenset()
    """Needed names of libraries that every system of a platform tag has."""

    windows_libraries: frozenset[str] = frozenset()
    """File names, in small letters, of libraries that every supported Windows has."""

    suppliers: Mapping[str, Project] = dataclasses.field(default_factory=dict)
    """Needed name -> the provider that a built-in policy knows."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Libraries that do the same, whatever their files are called."""

    name: str
    files: re.Pattern[str]
    """Matches the whole file name, in small letters and without the hash of a repair tool."""

    symbols: frozenset[str] = frozenset()
    """Exports of which one is enough, where the file name says nothing."""

    threads: bool = False
    """Each copy starts threads of its own, as many as there are further cores."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SetRunPath:
    """Give an image this run path, and no other; ``None`` takes it away."""

    run_path: RunPath | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AddNeeded:
    """Put a library in front of those that an image needs.

    In Mach-O it comes behind them, since symbols count the libraries.
    """

    library: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RenameNeeded:
    """Call a needed library of a Mach-O or PE image by another name, wherever it says so."""

    old: str
    new: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClearLoadFlags:
    """Let the loader search the usual places for what a PE image needs."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DropSignature:
    """Take the signature (Authenticode) off a PE image."""


BinaryEdit = SetRunPath | AddNeeded | RenameNeeded | ClearLoadFlags | DropSignature


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EditBinary:
    """Edits of one binary member."""

    member: Member
    edits: tuple[BinaryEdit, ...]
    resign: bool = False
    """Replace the signature of an identity by an ad-hoc one (Mach-O)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MoveToScripts:
    """Move an executable below site-packages and leave a starter in its place.

    An executable in ``.data/scripts`` has no fixed place relative to site-packages, so that no run
    path of it can lead there (pypa/auditwheel#340).
    """

    member: Member
    target: Member


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InsertLoader:
    """Put the loader into a Python file, in the place of one that is there already."""

    member: Member
    lines: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AddPackage:
    """Add an ``__init__.py`` that brings the loader in front of an extension module.

    For a module that lies in no package: Python prefers the package to the module of that name.
    """

    member: Member
    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SetRequirements:
    """The values of ``Requires-Dist`` that METADATA shall have, in its order."""

    requirements: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SetPlatforms:
    """The platform tags of the file name and of WHEEL."""

    platforms: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SetExamined:
    """Leave in ``.dist-info`` what was examined."""

    text: str


Edit = (
    EditBinary
    | MoveToScripts
    | InsertLoader
    | AddPackage
    | SetRequirements
    | SetPlatforms
    | SetExamined
)


class Severity(StrEnum):
    """How much a finding matters."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about the wheel or its provider that the user should know."""

    code: str
    severity: Severity
    member: Member | None = None
    message: str
    hint: str = ""


def _errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(f for f in findings if f.severity is Severity.ERROR)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is to be done about the binaries of a wheel."""

    used: tuple[Provider, ...]
    edits: tuple[Edit, ...]
    findings: tuple[Finding, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that will be changed, and everything that was found on the way."""

    edits: tuple[Edit, ...] = ()
    findings: tuple[Finding, ...] = ()
    output: WheelName

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid the plan."""
        return _errors(self.findings)

    def as_json(self) -> str:
        """Return the plan as JSON text: edits in their order, keys sorted, one value a line."""
        value = {
            "edits": [_plain(edit) for edit in self.edits],
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "output": self.output.filename,
        }
        return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _plain(edit: Edit | BinaryEdit) -> dict[str, object]:
    """Return an edit as JSON knows it, with the name of its type."""
    named = {"type": type(edit).__name__}
    if isinstance(edit, EditBinary):
        edits = [_plain(one) for one in edit.edits]
        return {**named, "member": edit.member, "edits": edits, "resign": edit.resign}
    return {**named, **dataclasses.asdict(edit)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a repair did."""

    plan: Plan
    engine: str
    output: str
    """The path of the wheel."""

    written: bool
    """False after a dry run."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found."""

    wheel: str
    findings: tuple[Finding, ...]
    providers: tuple[Provider, ...]
    """As they were examined; empty for a wheel that was never repaired."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The promises that are broken."""
        return _errors(self.findings)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of the import of a module in a fresh environment."""

    module: str
    error: str = ""
    """Why it failed; empty for a module that was imported."""

    kind: str = ""
    """The class of the exception; empty where the process died instead."""

    absent: str = ""
    """The module that a ModuleNotFoundError names."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was seen in a fresh environment."""

    modules: tuple[Imported, ...]
    processes: tuple[tuple[str, ...], ...]
    """The shared libraries that each process had mapped at its end, without Python's modules: paths
    below site-packages where they lie there, full paths elsewhere; with ``/``."""

    died: str = ""
    """What became of the process that imported all modules one after the other, if it died."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found."""

    wheel: str
    how: str
    """How it was done, and where."""

    installed: bool
    """False for a verification by model."""

    findings: tuple[Finding, ...]
    providers: tuple[Provider, ...] = ()
    imported: tuple[str, ...] = ()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Modules that cannot be imported alone, with the reason."""

    libraries: tuple[str, ...] = ()
    """What was mapped, as :attr:`Observed.processes` has it."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What is wrong."""
        return _errors(self.findings)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InstalledFile:
    """A binary as it lies in an environment."""

    path: str
    """The full path."""

    project: str = ""
    """The distribution that lists it in its RECORD; empty for nobody's."""

    version: str = ""
    size: int
    node: tuple[int, int]
    """Device and inode, by which loaders know a file again under any name."""

    sha256: str = ""
    images: tuple[Image, ...] = ()
    damage: str = ""
    """What is wrong with the bytes, or the empty string."""

    @property
    def label(self) -> str:
        """Name and version of the distribution, for messages."""
        return f"{self.project} {self.version}".strip()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """An installed distribution."""

    folder: str
    """The full path of the folder of ``sys.path``."""

    project: Project
    version: str
    requirements: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    """Platform tags of the wheel."""

    files: frozenset[SitePath] = frozenset()
    """What its RECORD lists, relative to the folder."""

    examined: str = ""
    """What was examined when its wheel was repaired; empty for one that was not."""

    images: Mapping[SitePath, tuple[Image, ...]] = dataclasses.field(default_factory=dict)
    """Of one that was repaired: what its binaries hold."""

    loads: frozenset[str] = frozenset()
    """File names of the libraries that its loaders look for."""

    @property
    def label(self) -> str:
        """Name and version, for messages."""
        return f"{self.project} {self.version}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What is installed for an interpreter, or in a folder."""

    name: str
    """The interpreter, or the folder."""

    installer: str
    """The command that installs a requirement, without it: ``/venv/bin/python -m pip install``."""

    homes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Folders that the installer installs into, with the option for it."""

    is_folder: bool = False
    folders: tuple[str, ...]
    """The folders of ``sys.path``, in its order."""

    distributions: tuple[Distribution, ...]
    """In the order of the folders."""

    libraries: tuple[InstalledFile, ...]
    """Every shared library that a distribution lists."""

    cores: int
    """Of this machine."""


def applied(image: Image, edits: Iterable[BinaryEdit]) -> Image:
    """Return the facts of an image after some edits; header room is left as it was."""
    before = image
    for edit in edits:
        if isinstance(edit, SetRunPath):
            run_path = _run_path(image, edit.run_path)
            image = dataclasses.replace(image, run_path=run_path, ignored_run_path=())
        elif isinstance(edit, RenameNeeded):
            image = _renamed(image, edit)
        elif isinstance(edit, ClearLoadFlags):
            image = dataclasses.replace(image, load_flags=0)
        elif isinstance(edit, DropSignature):
            image = dataclasses.replace(image, signature=Signature.NONE)
        elif edit.library not in image.needed:
            needed = (edit.library, *image.needed)
            if image.format is Format.MACHO:
                needed = (*image.needed, edit.library)
            image = dataclasses.replace(image, needed=needed)
    return image if image == before else _signed(image)


def _run_path(image: Image, wanted: RunPath | None) -> RunPath | None:
    """Return a run path as the format of an image can hold it: dyld refuses two equal entries."""
    if wanted is None or not wanted.entries:
        return None
    if image.format is not Format.MACHO:
        return wanted
    return RunPath(entries=tuple(dict.fromkeys(wanted.entries)), kind=RunPathKind.LC_RPATH)


def _renamed(image: Image, edit: RenameNeeded) -> Image:
    if edit.old not in image.needed:
        return image

    def new(name: str) -> str:
        return edit.new if name == edit.old else name

    return dataclasses.replace(
        image,
        needed=tuple(map(new, image.needed)),
        weak_needed=frozenset(map(new, image.weak_needed)),
        delayed=frozenset(map(new, image.delayed)),
        reexported=frozenset(map(new, image.reexported)),
        needed_compatibility=frozenset((new(n), v) for n, v in image.needed_compatibility),
        imports=frozenset(i._replace(library=new(i.library)) for i in image.imports),
    )


def _signed(image: Image) -> Image:
    """Return an edited image with the signature that it then has: arm64 needs one."""
    if image.format is not Format.MACHO:
        return image
    if image.arch.startswith("arm64") or image.signature is Signature.IDENTITY:
        return dataclasses.replace(image, signature=Signature.AD_HOC)
    return image
