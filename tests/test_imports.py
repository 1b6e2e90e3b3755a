"""The import directions that docs/internals.md draws."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "extlib_repair"

ALLOWED: dict[str, set[str]] = {
    "": set(),
    "__main__": {"cli"},
    "archive": {"archive.format", "archive.reader", "archive.writer"},
    "archive.format": set(),
    "archive.reader": {"archive.format"},
    "archive.writer": {"archive.format", "archive.reader"},
    "binary": {
        "binary.elf",
        "binary.elf_edit",
        "binary.macho",
        "binary.macho_edit",
        "binary.macho_fat",
        "binary.pe",
        "binary.pe_edit",
        "binary.pe_file",
    },
    "binary.codesign": {"binary.macho_fat", "binary.macho_file"},
    "binary.elf": {"binary.elf_file"},
    "binary.elf_edit": {"binary.elf", "binary.elf_file", "binary.grow"},
    "binary.elf_file": set(),
    "binary.elf_run_path": {"binary.run_path", "layout"},
    "binary.grow": {"process"},
    "binary.macho": {"binary.codesign", "binary.macho_fat", "binary.macho_file"},
    "binary.macho_edit": {
        "binary.codesign",
        "binary.macho",
        "binary.macho_fat",
        "binary.macho_file",
    },
    "binary.macho_fat": {"binary.macho_file"},
    "binary.macho_file": set(),
    "binary.macho_run_path": {"binary.run_path", "layout"},
    "binary.pe": {"binary.pe_file"},
    "binary.pe_edit": {"binary.pe", "binary.pe_file"},
    "binary.pe_file": set(),
    "binary.run_path": set(),
    "binary.second_reader": set(),
    "checking": {
        "dll_search",
        "dyld",
        "layout",
        "loader",
        "loaders",
        "loading",
        "planning",
        "platform_tag",
        "tags",
    },
    "choosing": {"examined", "fetching", "platform_tag", "policy", "provider", "tags"},
    "cli": {
        "archive",
        "commandline",
        "config",
        "demo",
        "dependency",
        "learning",
        "loaders",
        "pipeline",
        "planning",
        "provider",
        "reaching",
        "reporting",
        "showing",
        "telling",
    },
    "commandline": set(),
    "config": set(),
    "copies": {"layout"},
    "demo": {"pipeline", "process", "provider"},
    "dependency": set(),
    "diagnosing": {
        "binary.elf_run_path",
        "binary.macho_run_path",
        "examined",
        "layout",
        "platform_tag",
        "wording",
    },
    "dll_search": {"graph", "layout", "loader", "loading"},
    "dlls": {"graph", "wording"},
    "dyld": {"binary.macho_run_path", "layout", "loading"},
    "dylibs": {"binary.macho_run_path", "layout", "wording"},
    "engines.apple_tools": {
        "binary.codesign",
        "binary.macho_edit",
        "binary.macho_fat",
        "binary.macho_file",
        "process",
    },
    "engines": {
        "engines.auditwheel",
        "engines.delocate",
        "engines.delvewheel",
        "engines.none",
    },
    "engines.auditwheel": {"engines", "process"},
    "engines.delocate": {"engines", "process"},
    "engines.delocate_driver": {"engines.apple_tools", "engines.delocate"},
    "engines.delvewheel": {"engines", "process"},
    "engines.none": {"engines"},
    "environment": {"binary", "examined", "layout", "loader", "metadata", "process"},
    "errors": set(),
    "examined": {"layout"},
    "fetching": {"process", "tags"},
    "graph": {"layout"},
    "history": {"tags"},
    "history_text": {"history"},
    "installing": {"fetching", "interpreters", "process"},
    "interpreters": {"process", "tags"},
    "judging": {"layout", "tags"},
    "layout": set(),
    "learning": {"fetching", "history", "history_text", "provider", "tags", "wheelfile"},
    "linkage": {"layout"},
    "loader": {"loader.placement", "loader.scripts", "loader.source", "loader.text"},
    "loader.hook": {"layout", "loader.source"},
    "loader.placement": {"layout", "loader.hook"},
    "loader.scripts": set(),
    "loader.source": {"loader.text"},
    "loader.text": {"layout"},
    "loaders": {"graph", "layout", "loader"},
    "loading": {"binary.elf_run_path", "layout"},
    "metadata": set(),
    "model": set(),
    "oddities": {"layout"},
    "pipeline": {
        "archive",
        "checking",
        "choosing",
        "copies",
        "dependency",
        "diagnosing",
        "engines",
        "environment",
        "examined",
        "loaders",
        "installing",
        "interpreters",
        "judging",
        "learning",
        "planning",
        "platform_tag",
        "policy",
        "provider",
        "reaching",
        "shipped",
        "showing",
        "tags",
        "telling",
        "verifying",
        "wheelfile",
        "writing",
    },
    "planning": {
        "dependency",
        "diagnosing",
        "dll_search",
        "dlls",
        "dylibs",
        "examined",
        "graph",
        "judging",
        "layout",
        "linkage",
        "loader",
        "loaders",
        "loading",
        "oddities",
        "platform_tag",
        "reaching",
        "symbols",
        "tags",
    },
    "platform_tag": {"tags"},
    "policy": {"tags"},
    "probe": set(),
    "process": set(),
    "provider": {"binary", "layout", "metadata", "policy", "process", "tags", "wheelfile"},
    "reaching": {"binary.elf_run_path", "layout", "linkage", "wording"},
    "reporting": {"loader"},
    "shipped": {"history", "history_text", "policy"},
    "showing": {"checking", "layout", "loading"},
    "symbols": {"linkage", "wording"},
    "tags": set(),
    "telling": {"copies", "diagnosing"},
    "verifying": {"binary.second_reader", "metadata", "wheelfile"},
    "wheelfile": {"archive", "binary", "examined", "layout", "metadata", "tags"},
    "wording": set(),
    "writing": {"archive", "binary", "examined", "loader", "metadata", "wheelfile"},
}

NO_IMPORTS_OF_OURS = {"model", "errors"}
PURE = {
    "checking",
    "copies",
    "dependency",
    "diagnosing",
    "dll_search",
    "dlls",
    "dyld",
    "dylibs",
    "examined",
    "graph",
    "history",
    "history_text",
    "judging",
    "layout",
    "linkage",
    "loader",
    "loader.hook",
    "loader.placement",
    "loader.scripts",
    "loader.source",
    "loader.text",
    "loaders",
    "loading",
    "oddities",
    "planning",
    "platform_tag",
    "reaching",
    "showing",
    "symbols",
    "tags",
    "telling",
    "wording",
}
DOES_IO = {"os", "pathlib", "shutil", "tempfile", "sys", "io", "time", "datetime", "random"}


def module_name(path: Path) -> str:
    return (
        ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix("__init__").rstrip(".")
    )


def imports_of(path: Path) -> set[str]:
    """Return every imported module and every name imported from one, dotted."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {n for n in names if n.removeprefix("extlib_repair.") in MODULES}
            found |= names if modules == names else names | {node.module}
    return found


MODULES = {module_name(path): path for path in sorted(SRC.rglob("*.py"))}


def own_imports(path: Path) -> set[str]:
    own = {n.removeprefix("extlib_repair.") for n in imports_of(path) if n.startswith("extlib")}
    return {name for name in own if name in MODULES}


def test_every_module_has_its_place_in_the_drawing() -> None:
    assert set(ALLOWED) == set(MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_imports_only_what_its_layer_allows(module: str) -> None:
    everyone_may = set() if module in NO_IMPORTS_OF_OURS else NO_IMPORTS_OF_OURS

    assert own_imports(MODULES[module]) <= ALLOWED[module] | everyone_may


@pytest.mark.parametrize("module", sorted(MODULES))
def test_the_drawing_allows_nothing_that_is_not_used(module: str) -> None:
    assert ALLOWED[module] <= own_imports(MODULES[module])


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_do_no_io(module: str) -> None:
    assert not {name.partition(".")[0] for name in imports_of(MODULES[module])} & DOES_IO
