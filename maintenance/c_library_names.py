"""Make ``src/extlib_repair/data/c-library-names.txt``: what glibc and musl define.

Run on Debian, with the dependencies of the project installed::

    python maintenance/c_library_names.py

It unpacks Debian's packages ``libc6`` and ``musl`` into a temporary folder and lists the dynamic
symbols of their shared libraries. Symbols that glibc keeps to itself (``GLIBC_PRIVATE``) are left
out.
"""

import subprocess
import tempfile
from pathlib import Path

from extlib_repair.binary import elf

TARGET = Path(__file__).parents[1] / "src/extlib_repair/data/c-library-names.txt"
PACKAGES = ("libc6", "musl")
HEADER = """\
# Names that the C libraries define: glibc and musl, from Debian's packages {packages}.
# Made by maintenance/c_library_names.py.
"""


def names_of(library: Path) -> set[str]:
    """Return the public names that a shared library exports."""
    image = elf.read(library.read_bytes()).images[0]
    exports = {e for e in image.exports if e not in image.versions}
    private = {e.partition("@")[0] for e in exports if e.endswith("@GLIBC_PRIVATE")}
    public = {e.partition("@")[0] for e in exports if "@" in e and not e.endswith("_PRIVATE")}
    plain = {e for e in exports if "@" not in e}
    return (public | (plain - private)) - set(image.versions)


def main() -> None:
    """Write the list."""
    names: set[str] = set()
    labels = []
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
            (deb,) = Path(folder).glob(f"{package}_*.deb")
            labels.append(" ".join(deb.stem.split("_")[:2]))
            root = Path(folder, package)
            subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
            for library in sorted(root.rglob("*.so*")):
                if library.is_file() and not library.is_symlink() and "gconv" not in library.parts:
                    names |= names_of(library)
    text = HEADER.format(packages=", ".join(labels))
    TARGET.write_text(text + "".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")
    print(f"{len(names)} names")


if __name__ == "__main__":
    main()
