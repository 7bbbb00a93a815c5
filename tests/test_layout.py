"""The house rules that a machine can hold: where things are, and how large they get."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.folders import ROOT

SERVICES = ("auth", "events", "faq", "search")
PACKAGES = ("shared", "services", "gateway", "dev")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 50
MAX_FILES, MAX_FILES_OF_SHARED = 12, 16


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_shape(service: str) -> None:
    folder = ROOT / "services" / service
    names = {path.name for path in folder.iterdir()}
    assert {"app.py", "models.py"} <= names
    # Where it is large, they are in its rooms.
    assert [*folder.rglob("resources.py"), *folder.rglob("routes.py")]


def test_alembic_does_not_shadow_its_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_folders_fit_in_a_head() -> None:
    files = Counter(path.parent for path in sources() if path.name != "__init__.py")
    for folder, count in files.items():
        assert count <= (MAX_FILES_OF_SHARED if folder == ROOT / "shared" else MAX_FILES), folder


def test_files_and_functions_fit_in_a_head() -> None:
    for path in sources():
        text = path.read_text()
        assert text.count("\n") <= MAX_FILE_LINES, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, (path, node.name)


def test_modules_say_what_they_are_for() -> None:
    for path in sources():
        if path.name != "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text())), path
