"""``[tool.extlib-repair]`` of a ``pyproject.toml``: the command line's options, by the same names.

Where the command line says something, it wins over the file. Which file was read is said aloud: one
that was missed would silently vendor the library that it names a provider for.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from extlib_repair.errors import UsageError
from extlib_repair.model import frozen_mapping

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_Value = TypeVar("_Value")

TABLE = "extlib-repair"
ACKNOWLEDGE = "acknowledge"
DEFAULT = Path("pyproject.toml")

LISTS = ("provided-by", "provider-wheel", "policy", "built-against")
PATHS = ("provider-wheel", "policy")
STRINGS = ("provider-python", "wheel-dir", "loader")
NUMBERS = ("most-expansion",)
SWITCHES = (
    "require-provided",
    "runpath",
    "sanitize-rpaths",
    "add-needed",
    "keep-going",
    "fetch",
    "resign",
    "drop-signature",
)
ENGINES = {
    "auditwheel-options": "auditwheel",
    "delocate-options": "delocate",
    "delvewheel-options": "delvewheel",
}
"""Options for an engine, as its command line has them: key -> engine."""

KEYS = (*LISTS, *STRINGS, *NUMBERS, *SWITCHES, *ENGINES, ACKNOWLEDGE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a file says."""

    said: str
    """A line for the user: what was read, or that nothing was."""

    values: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Option (with its dashes) -> values."""

    switches: frozenset[str] = frozenset()
    """Options without a value, with their dashes."""

    engine_options: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Name of an engine -> words of its command line."""

    acknowledged: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Code of a finding -> the reason why it is accepted."""


def read(stated: str, codes: Collection[str]) -> Configuration:
    """Read the file that ``--config`` names, else the working directory's ``pyproject.toml``.

    ``codes`` are the findings that can be acknowledged. Raises :class:`UsageError`.
    """
    path = Path(stated) if stated else DEFAULT
    if not stated and not path.is_file():
        return Configuration(said=f"no configuration: there is no {DEFAULT} here")
    tables = _tables(path)
    tool = tables.get("tool", {})
    if not isinstance(tool, dict):
        raise UsageError(f"{path}: tool must be a table", hint=f"[tool.{TABLE}]")
    if TABLE not in tool:
        return Configuration(said=f"no configuration: {path} has no [tool.{TABLE}]")
    table = tool[TABLE]
    if not isinstance(table, dict):
        raise UsageError(f"{path}: tool.{TABLE} must be a table", hint=f"[tool.{TABLE}]")
    return _configuration(table, path, codes)


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(
            f"cannot read the configuration {path}: {error.strerror}",
            hint="--config takes the path of a TOML file; in cibuildwheel: "
            "{package}/pyproject.toml",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="mend the file first") from None


def _configuration(table: Mapping[str, Any], path: Path, codes: Collection[str]) -> Configuration:
    where = f"{path}: [tool.{TABLE}]"
    values: dict[str, tuple[str, ...]] = {}
    switches: set[str] = set()
    engine_options: dict[str, tuple[str, ...]] = {}
    for key, value in table.items():
        if key not in KEYS:
            raise _unknown(f"{where}: unknown key {key!r}", key, KEYS)
        if key in SWITCHES:
            if _checked(value, bool, f"{where}: {key} must be true or false"):
                switches.add(f"--{key}")
        elif key in LISTS:
            values[f"--{key}"] = _texts(value, key, where, path.parent)
        elif key in ENGINES:
            engine_options[ENGINES[key]] = _texts(value, key, where, path.parent)
        elif key in STRINGS:
            values[f"--{key}"] = (_checked(value, str, f"{where}: {key} must be a string"),)
        elif key in NUMBERS:
            values[f"--{key}"] = (str(_checked(value, int, f"{where}: {key} must be a number")),)
    return Configuration(
        said=f"configuration: {where}",
        values=frozen_mapping(values.items()),
        switches=frozenset(switches),
        engine_options=frozen_mapping(engine_options.items()),
        acknowledged=_acknowledged(table.get(ACKNOWLEDGE, {}), where, codes),
    )


def _texts(value: object, key: str, where: str, folder: Path) -> tuple[str, ...]:
    """Return a list of strings; paths are relative to the file that states them."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{where}: {key} must be a string or a list of strings")
    return tuple(str(folder / text) if key in PATHS else text for text in texts)


def _acknowledged(table: object, where: str, codes: Collection[str]) -> Mapping[str, str]:
    what = f"{where}: {ACKNOWLEDGE}"
    if not isinstance(table, dict):
        raise UsageError(
            f"{what} must be a table", hint=f'{ACKNOWLEDGE} = {{ own-copy = "the reason" }}'
        )
    for code, reason in table.items():
        if code not in codes:
            raise _unknown(f"{what}: no finding has the code {code!r}", code, codes)
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(f"{what}: {code} needs a reason", hint="a sentence, as a string")
    return frozen_mapping(table.items())


def _checked(value: object, kind: type[_Value], message: str) -> _Value:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(message)
    return value


def _unknown(message: str, word: str, known: Collection[str]) -> UsageError:
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
    return UsageError(message, hint=hint)
