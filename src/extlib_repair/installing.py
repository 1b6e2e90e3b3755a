"""Fresh environments: made, filled by an installer, looked at from inside, removed.

uv makes them where it is there, which is fast; else venv and pip. Each has its own configuration,
and the index that it is configured for is asked. Nothing of the caller's environment leads to other
libraries or modules: ``PYTHON*``, ``LD_*``, ``DYLD_*`` and the like are taken out, and programs run
in an empty folder.

All modules are imported in one process first, one after the other: that is fast, it is how an
application does it, and it shows whether a library is shared. Whatever failed is tried again in a
process of its own, since one module's failure can be the fault of another; and where the process
died, every module is.

Under Wine no installer runs: pip lays the files out for Windows, from here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import shlex
import shutil
import signal
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extlib_repair import fetching, process
from extlib_repair.errors import UsageError
from extlib_repair.model import Imported, Observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extlib_repair.interpreters import Interpreter

_LEADS_ASTRAY = (
    *("PYTHON", "LD_", "DYLD_", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__"),
    *("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER"),
)
"""How the names of variables begin that lead to other libraries, modules or folders."""

_DECORATION = " \t\N{MULTIPLICATION SIGN}╰├│─▶"
_MOST_WORDS = 500


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """What one process had to say."""

    results: Mapping[str, Imported]
    """By module; of a process that died, up to the module in which it did."""

    mapped: tuple[str, ...] = ()
    is_whole: bool
    """Whether it came to its list of shared libraries."""

    end: str = ""
    """How it ended, if it died."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A folder with a Python in it, or beside it."""

    interpreter: Interpreter
    folder: Path
    python: tuple[str, ...]
    uv: tuple[str, ...] = ()
    """The words that start uv; empty where pip installs."""

    @property
    def how(self) -> str:
        """For messages."""
        return f"by {'uv' if self.uv else 'pip'} for {self.interpreter.label}"

    def install(
        self, wheels: Sequence[Path], find_links: Sequence[str], more: Sequence[str] = ()
    ) -> str:
        """Install wheels with what they require; return the installer's words if it fails."""
        links = [word for link in find_links for word in ("--find-links", link)]
        files = [str(wheel.absolute()) for wheel in wheels]
        done = process.run([*self._installer(), *links, *files, *more], env=_clean())
        return _words(done.stderr) or done.last_words if done.returncode else ""

    def observe(self, modules: Sequence[str]) -> Observed:
        """Import modules, and list what is mapped then."""
        if not modules:
            return Observed(modules=(), processes=())
        together = self._probe(modules)
        seen = dict(together.results)
        processes = [together.mapped]
        several = len(modules) > 1
        for module in modules if several else ():
            if not together.is_whole or seen[module].error:
                alone = self._probe([module])
                seen[module] = alone.results[module]
                processes.append(alone.mapped)
        return Observed(
            modules=tuple(seen[module] for module in modules),
            processes=tuple(processes),
            died=together.end if several else "",
        )

    def run(self, command: str) -> tuple[str, str]:
        """Run a command; return why it failed, or nothing, and all that it said."""
        first, *rest = _split(command)
        note = ""
        scripts = str(Path(self.python[-1]).parent)
        path = os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)])
        program = [shutil.which(first, path=path) or first]
        env = {**_clean(), "PATH": path, "VIRTUAL_ENV": str(self.folder)}
        if self.interpreter.is_foreign:
            program = [*self.python] if first == "python" else program
            env["PYTHONPATH"] = ";".join(self._sites())
        elif shutil.which(first) and not shutil.which(first, path=scripts):
            # A pytest from elsewhere would run the tests of another environment.
            note = f"note: {first} is not in the environment: {program[0]} runs\n"
        try:
            done = process.run([*program, *rest], env=env, cwd=self._empty())
        except OSError as error:
            return f"it cannot be started: {error.strerror}", ""
        said = note + done.stdout + done.stderr
        if not done.returncode:
            return "", said
        spoken = (done.stdout + done.stderr).splitlines()
        last = [line.strip() for line in spoken if line.strip()][-1:]
        return ": ".join([_end(done.returncode), *last]), said

    def _installer(self) -> list[str]:
        if self.uv:
            # Links into uv's cache would be shown instead of the installed file.
            options = ["--quiet", "--link-mode", "copy", "--python", self.python[0]]
            return [*self.uv, "pip", "install", *options]
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if not self.interpreter.is_foreign:
            return [*self.python, *pip]
        version = ".".join(map(str, self.interpreter.version[:2]))
        target = ["--target", str(self.folder), "--only-binary=:all:", "--no-compile"]
        platforms = {tag.rpartition("-")[2] for tag in self.interpreter.tags} - {"any"}
        for platform in sorted(platforms):
            target += ["--platform", platform]
        target += ["--python-version", version, "--implementation", "cp"]
        return [fetching.python_with_pip(), *pip, *target]

    def _probe(self, modules: Sequence[str]) -> _Probe:
        """Import modules in one process."""
        folder = Path(tempfile.mkdtemp(dir=self.folder.parent))
        asked = {
            "modules": list(modules),
            "sites": self._sites(),
            "result": self._spelled(folder / "result"),
        }
        (folder / "request").write_text(json.dumps(asked), encoding="utf-8")
        program = resources.files("extlib_repair") / "probe.py"
        (folder / "probe.py").write_bytes(program.read_bytes())
        files = [self._spelled(folder / name) for name in ("probe.py", "request")]
        done = process.run([*self.python, "-I", *files], env=_clean(), cwd=self._empty())
        result = folder / "result"
        lines = result.read_text(encoding="utf-8").splitlines() if result.exists() else []
        if not lines:
            raise UsageError(
                f"{self.interpreter.label} does not work: {done.last_words}",
                hint="name another interpreter: --python PYTHON",
            )
        # In errors stand paths below the environment, so that two environments can be compared.
        separator = "\\" if self.interpreter.is_foreign else os.sep
        own = json.dumps(self._spelled(self.folder) + separator)[1:-1]
        lines = [line.replace(own, "") for line in lines]
        return _read(lines, _end(done.returncode) if done.returncode else "")

    def _sites(self) -> list[str]:
        """Return the folders of packages that the Python does not know by itself."""
        return [self._spelled(self.folder)] if self.interpreter.is_foreign else []

    def _spelled(self, path: Path) -> str:
        """Return a path as the Python spells it: Wine's drive Z is this machine."""
        return "Z:" + str(path).replace("/", "\\") if self.interpreter.is_foreign else str(path)

    def _empty(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder.parent))


@contextlib.contextmanager
def environment(interpreter: Interpreter) -> Iterator[Environment]:
    """Make an environment, and remove it afterwards; raises :class:`UsageError`."""
    with tempfile.TemporaryDirectory(prefix="extlib-verify-", ignore_cleanup_errors=True) as folder:
        place = Path(folder).resolve() / "environment"
        if interpreter.is_foreign:
            yield Environment(interpreter=interpreter, folder=place, python=interpreter.command)
            return
        uv = uv_command()
        make = [*uv, "venv", "--quiet", "--no-project", "--python", *interpreter.command]
        if not uv:
            make = [*interpreter.command, "-m", "venv"]
        done = process.run([*make, str(place)], env=_clean())
        programs = (place / "bin" / "python", place / "Scripts" / "python.exe")
        python = next((str(p) for p in programs if p.exists()), "")
        if done.returncode or not python:
            raise UsageError(
                f"no environment can be made for {interpreter.label}: "
                f"{_words(done.stderr) or done.last_words}",
                hint="install uv, or what that Python needs for venv (Debian: python3-venv)",
            )
        yield Environment(interpreter=interpreter, folder=place, python=(python,), uv=uv)


def uv_command() -> tuple[str, ...]:
    """Return the words that start uv; empty where it is not there."""
    if program := process.find("uv"):
        return (program,)
    return (process.python(), "-m", "uv") if importlib.util.find_spec("uv") else ()


def _clean() -> dict[str, str | None]:
    """Return what is to be taken out of the caller's environment."""
    return {name: None for name in os.environ if name.startswith(_LEADS_ASTRAY)}


def _read(lines: Sequence[str], end: str) -> _Probe:
    """Read what the probe wrote; a line that was cut off is the last."""
    results: dict[str, Imported] = {}
    begun, mapped = "", None
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            begun = row.get("begins", begun)
            mapped = row.get("mapped", mapped)
            if "module" in row:
                results[row["module"]] = _imported(row)
    if mapped is None and begun not in results:
        results[begun] = Imported(module=begun, error=f"the process dies: {end}")
    elif end and len(results) == 1:
        results[begun] = Imported(module=begun, error=f"the process dies at its end: {end}")
    where = f"in {begun}" if mapped is None else "at its end"
    return _Probe(
        results=results,
        mapped=tuple(mapped or ()),
        is_whole=mapped is not None,
        end=f"dies {where}: {end}" if end or mapped is None else "",
    )


def _imported(row: Mapping[str, Any]) -> Imported:
    return Imported(
        module=row["module"],
        error=_shortened(row.get("error", "")),
        kind=row.get("kind", ""),
        absent=row.get("absent", ""),
    )


def _split(command: str) -> list[str]:
    """Return the words of a command, as a shell takes it apart; raises :class:`UsageError`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--run {command!r}: {error}", hint="quote it as for a shell") from None
    if not words:
        raise UsageError("--run needs a command", hint='for example: --run "pytest --pyargs NAME"')
    return words


def _end(code: int) -> str:
    """Say how a process ended."""
    with contextlib.suppress(ValueError):
        if code < 0:
            return signal.Signals(-code).name
    return f"exit code {code}"


def _words(stderr: str) -> str:
    """Return what an installer complains about, in one line: uv fills lines and draws arrows."""
    lines = [line.strip(_DECORATION) for line in stderr.splitlines()]
    said = [line for line in lines if line and not line.lower().startswith(("warning", "[notice]"))]
    return _shortened(" ".join(line.removeprefix("ERROR: ") for line in said))


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]} ..."
