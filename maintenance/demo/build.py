"""Make the demo's wheels in ``src/extlib_repair/data/demo``.

Run on Debian 12, x86_64, with gcc, gcc-aarch64-linux-gnu and the headers of a CPython >= 3.11::

    python maintenance/demo/build.py

The consumer is an ordinary, unrepaired wheel (``linux_*``), linked against the provider's library
with an absolute build-time run path, as builds against an installed provider leave it. The provider
declares itself: its ``.dist-info`` holds ``extlib-repair.toml``. Neither needs anything of the C
library that is newer than manylinux_2_17 (the provider needs nothing of it at all).
"""

import base64
import hashlib
import subprocess
import sysconfig
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "src/extlib_repair/data/demo"
COMPILERS = {"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc"}
FLAGS = ["-shared", "-fPIC", "-O3", "-g0", "-Wl,--build-id=none", "-s"]
RUN_PATH = "/build/venv/lib/python3/site-packages/extlib_demo_matrix/lib"
DATE = (2026, 1, 1, 0, 0, 0)

POLICY = b"""\
schema = 1
project = "extlib-demo-matrix"

[symbols]
prefix = "demo_matrix_"

[[libraries]]
system = "linux"
directory = "extlib_demo_matrix/lib"
name = "libdemo_matrix.so"
"""

INIT = b'''\
"""The consumer of the demo."""

from extlib_demo._product import multiply

__all__ = ["multiply"]
'''


def compiled(arch: str, folder: Path) -> tuple[bytes, bytes]:
    """Return the provider's library and the consumer's extension module."""
    compiler = COMPILERS[arch]
    library, module = folder / "libdemo_matrix.so", folder / "_product.abi3.so"
    command = [compiler, *FLAGS, "-nostdlib", "-Wl,-soname,libdemo_matrix.so"]
    subprocess.run([*command, "-o", library.name, HERE / "matrix.c"], cwd=folder, check=True)
    command = [compiler, *FLAGS, f"-I{sysconfig.get_path('include')}", "-o", module.name]
    command += [str(HERE / "product.c"), "-L.", "-ldemo_matrix", "-Wl,--no-as-needed", "-lc"]
    subprocess.run([*command, f"-Wl,-rpath,{RUN_PATH}"], cwd=folder, check=True)
    return library.read_bytes(), module.read_bytes()


def write_wheel(name: str, tag: str, files: dict[str, bytes], extra: dict[str, bytes]) -> None:
    """Write a wheel; ``extra`` goes into its ``.dist-info``."""
    info = f"{name}-1.0.dist-info"
    members = {
        **files,
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
            "Summary: Part of the demonstration of extlib-repair\n"
        ).encode(),
        f"{info}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: maintenance/demo/build.py\n"
            f"Root-Is-Purelib: false\nTag: {tag}\n"
        ).encode(),
        **{f"{info}/{path}": data for path, data in extra.items()},
    }
    rows = []
    for path, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(data)}\n")
    members[f"{info}/RECORD"] = ("".join(rows) + f"{info}/RECORD,,\n").encode()
    wheel = TARGET / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            entry = zipfile.ZipInfo(member, DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if member.endswith(".so") else 0o100644) << 16
            archive.writestr(entry, data)
    print(f"{wheel.name}: {wheel.stat().st_size} bytes")


def main() -> None:
    """Make all wheels."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for arch in COMPILERS:
        with tempfile.TemporaryDirectory() as folder:
            library, module = compiled(arch, Path(folder))
        write_wheel(
            "extlib_demo_matrix",
            f"py3-none-manylinux_2_17_{arch}",
            {
                "extlib_demo_matrix/__init__.py": b'"""The provider of the demo."""\n',
                "extlib_demo_matrix/lib/libdemo_matrix.so": library,
            },
            {"extlib-repair.toml": POLICY},
        )
        write_wheel(
            "extlib_demo",
            f"cp311-abi3-linux_{arch}",
            {"extlib_demo/__init__.py": INIT, "extlib_demo/_product.abi3.so": module},
            {},
        )


if __name__ == "__main__":
    main()
