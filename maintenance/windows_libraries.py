"""Make ``src/extlib_repair/data/windows-libraries.txt``: the libraries that Windows brings.

Run it where delvewheel is installed, whose lists of what need not be vendored are the source::

    python maintenance/windows_libraries.py
"""

from importlib import metadata
from pathlib import Path

from delvewheel import _dll_list

TARGET = Path(__file__).parents[1] / "src/extlib_repair/data/windows-libraries.txt"
HEADER = """\
# Libraries that Windows brings, on x86, x64 or ARM64, by their file names in small letters, as
# listed by delvewheel {version}. Made by maintenance/windows_libraries.py.
"""


def main() -> None:
    """Write the list."""
    names = sorted(set().union(*_dll_list.ignore_names.values()))
    head = HEADER.format(version=metadata.version("delvewheel"))
    TARGET.write_text(head + "".join(f"{name}\n" for name in names), encoding="utf-8")


if __name__ == "__main__":
    main()
