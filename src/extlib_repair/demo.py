"""The demo: repair a small consumer, install it with its provider, let it multiply.

Everything is real: the wheels were compiled from C (``maintenance/demo``), the engine runs, pip
installs into a fresh environment, and pip itself brings the provider because the repaired wheel
requires it.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import zipfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from extlib_repair import pipeline, process
from extlib_repair.errors import EngineError, UnsupportedError
from extlib_repair.model import Finding, Project, ProviderRequest
from extlib_repair.provider import Sources

if TYPE_CHECKING:
    from collections.abc import Callable

PROVIDER = Project("extlib-demo-matrix")
LIBRARY = "libdemo_matrix.so"
EXPECTED = [19.0, 22.0, 43.0, 50.0]

_PROGRAM = """
import json
from extlib_demo import multiply
product = multiply((1, 2, 3, 4), (5, 6, 7, 8))
with open("/proc/self/maps") as maps:
    paths = {line.split()[-1] for line in maps if "demo" in line.split()[-1]}
print(json.dumps([product, sorted(paths)]))
"""


def run(say: Callable[[str], None]) -> None:
    """Run the demo; raises a subclass of :class:`ExtlibRepairError` where a step fails."""
    shipped = resources.files("extlib_repair") / "data" / "demo"
    with contextlib.ExitStack() as stack:
        wheels = stack.enter_context(resources.as_file(shipped))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extlib-demo-")))
        provider = _fitting(wheels, "extlib_demo_matrix-")
        arch = provider.stem.rpartition("_2_17_")[2]
        consumer = wheels / f"extlib_demo-1.0-cp311-abi3-linux_{arch}.whl"
        say(f"consumer: {consumer.name}")
        say(f"provider: {provider.name}, which supplies {LIBRARY}")
        before = _vendored(consumer, provider, folder)
        say(f"\n$ extlib-repair {consumer.name} --provided-by {PROVIDER}")
        after = _repaired(consumer, provider, folder, say)
        product, mapped = _installed(after, provider, folder, say)
        say(f"\n(1 2; 3 4) x (5 6; 7 8) = {product}")
        say("mapped into the process:")
        for path in mapped:
            say(f"  {path}")
        say(f"\nwheel with the library copied in: {before.stat().st_size} bytes")
        say(f"wheel that depends on the provider: {after.stat().st_size} bytes")
    copies = [path for path in mapped if LIBRARY.partition(".")[0] in path]
    if product != EXPECTED or len(copies) != 1 or "extlib_demo_matrix/lib" not in copies[0]:
        raise EngineError("the demo did not come out as it should")


def _fitting(wheels: Path, prefix: str) -> Path:
    """Return the shipped wheel that this interpreter can install."""
    supported = set(sys_tags())
    for path in sorted(wheels.glob(f"{prefix}*.whl")):
        if parse_wheel_filename(path.name)[3] & supported:
            return path
    raise UnsupportedError(
        "the demo's wheels are for Linux with glibc on x86_64 and aarch64",
        hint="wheels for other systems can be repaired here all the same",
    )


def _vendored(consumer: Path, provider: Path, folder: Path) -> Path:
    """Return what auditwheel makes of the consumer when it copies the library in."""
    library = folder / "provider" / LIBRARY
    library.parent.mkdir()
    with zipfile.ZipFile(provider) as archive:
        library.write_bytes(archive.read(f"extlib_demo_matrix/lib/{LIBRARY}"))
    command = [process.python(), "-P", "-m", "auditwheel", "repair", str(consumer)]
    _checked(
        [*command, "-w", str(folder / "before")],
        "auditwheel",
        {"LD_LIBRARY_PATH": str(library.parent)},
    )
    return next((folder / "before").glob("*.whl"))


def _repaired(consumer: Path, provider: Path, folder: Path, say: Callable[[str], None]) -> Path:
    request = pipeline.Request(
        providers=(ProviderRequest(project=PROVIDER),),
        wheel_dir=folder / "wheelhouse",
        sources=Sources(wheels=(provider,)),
    )

    def tell(finding: Finding) -> None:
        say(f"{finding.severity}: {finding.message}")

    report = pipeline.repair(consumer, request, tell, lambda _: None)
    say(f"wrote {Path(report.output).name}")
    return Path(report.output)


def _installed(
    wheel: Path, provider: Path, folder: Path, say: Callable[[str], None]
) -> tuple[list[float], list[str]]:
    """Install the wheel into a fresh environment and use it there."""
    environment = folder / "environment"
    _checked([process.python(), "-m", "venv", str(environment)], "venv")
    python = str(environment / "bin" / "python")
    say(f"\n$ pip install {wheel.name}")
    links = ["--find-links", str(provider.parent)]
    said = _checked(
        [python, "-m", "pip", "install", "--no-index", "--no-cache-dir", *links, str(wheel)], "pip"
    )
    say(said.splitlines()[-1])
    product, paths = json.loads(_checked([python, "-c", _PROGRAM], "the consumer"))
    return product, [path.replace(f"{folder.resolve()}/", "") for path in paths]


def _checked(command: list[str], who: str, env: dict[str, str] | None = None) -> str:
    done = process.run(command, env=env)
    if done.returncode:
        raise EngineError(f"{who}: {done.last_words}", log=done.stderr)
    return done.stdout.strip()
