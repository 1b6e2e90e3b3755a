"""Small wheels, made on the spot."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

DATE = (2024, 1, 1, 0, 0, 0)


def record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def dist_info(
    files: Mapping[str, bytes], name: str, version: str, tag: str, requires: Sequence[str] = ()
) -> dict[str, bytes]:
    """Return METADATA, WHEEL and RECORD for some files, by their member names."""
    python, abi, platforms = tag.split("-")
    info = f"{name}-{version}.dist-info"
    tags = "".join(f"Tag: {python}-{abi}-{platform}\n" for platform in platforms.split("."))
    lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
    made = {
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
            f"{lines}\nDescription.\n"
        ).encode(),
        f"{info}/WHEEL": (
            f"Wheel-Version: 1.0\nGenerator: tests\n"
            f"Root-Is-Purelib: {'true' if platforms == 'any' else 'false'}\n{tags}"
        ).encode(),
    }
    lines = "".join(record_line(n, data) for n, data in {**files, **made}.items())
    return {**made, f"{info}/RECORD": f"{lines}{info}/RECORD,,\n".encode()}


def make_wheel(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    name: str = "demo",
    version: str = "1.0",
    tag: str = "cp311-cp311-linux_x86_64",
    requires: Sequence[str] = (),
) -> Path:
    """Write a wheel that holds these files, and return its path."""
    path = folder / f"{name}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in {**files, **dist_info(files, name, version, tag, requires)}.items():
            info = zipfile.ZipInfo(member, DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if data[:4] == b"\x7fELF" else 0o644
            info.external_attr = (0o100000 | mode) << 16
            archive.writestr(info, data)
    return path


def read_wheel(path: Path) -> dict[str, bytes]:
    """Return the files of a wheel by their member names."""
    with zipfile.ZipFile(path) as archive:
        return {i.filename: archive.read(i) for i in archive.infolist() if not i.is_dir()}
