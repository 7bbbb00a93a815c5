"""`make revision`, and the page that describes how a type of resource is added."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.folders import ROOT, remove_data

PARTS = ("alembic", "dev", "gateway", "services", "shared", "tests/faq", "pyproject.toml")
NAME = re.compile(r"`([a-z_/]+/[a-z_]+\.py)`")
BLOCK = re.compile(
    r"^   ```(?P<language>python|diff)\n(?P<text>.*?)^   ```$", re.MULTILINE | re.DOTALL
)
MAX_LINES = 45
TRIGGER = (
    '    op.execute(\n        "CREATE TRIGGER raise_version BEFORE UPDATE ON faq.sponsors "\n'
    '        "FOR EACH ROW EXECUTE FUNCTION public.raise_version()"\n    )\n'
)


@pytest.fixture
def copy() -> Iterator[Path]:
    """The project in a folder of its own, without data."""
    folder = ROOT / ".local" / "copy"
    remove_data(folder / ".local")
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    yield folder
    remove_data(folder / ".local")
    shutil.rmtree(folder)


def run(copy: Path, *arguments: str, is_refused: bool = False) -> str:
    stores = ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL")
    env = {name: value for name, value in os.environ.items() if name not in stores}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=copy, env=env, capture_output=True, text=True
    )
    assert done.returncode == int(is_refused), done.stdout + done.stderr
    return done.stdout + done.stderr


def change(file: Path, hunk: str) -> None:
    """Apply the lines of one hunk of a diff at the only place where they fit."""
    lines = hunk.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    new = "".join(line[1:] for line in lines if not line.startswith("-"))
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


def follow_the_page(copy: Path) -> int:
    """Do what CONTRIBUTING.md says, without the migration; the number of lines typed in.

    Blocks of Python go to the end of the file that was named last, a diff says itself where.
    """
    _, _, page = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a resource type")
    count = 0
    for block in BLOCK.finditer(page):
        names = NAME.findall(page, 0, block.start())
        file, text = copy / names[-1], re.sub(r"^ {3}", "", block["text"], flags=re.MULTILINE)
        if block["language"] == "python":
            file.write_text(f"{file.read_text()}\n\n{text}")
            count += 2 + text.count("\n")
        else:
            for hunk in text.split("\n\n"):
                change(file, hunk.rstrip("\n") + "\n")
                count += hunk.count("\n+") + hunk.startswith("+")
    return count


@pytest.mark.processes
def test_a_type_is_added_as_the_page_says(copy: Path) -> None:
    assert follow_the_page(copy) <= MAX_LINES
    said = run(copy, "dev.revision", "faq sponsors")
    (written,) = (copy / "alembic" / "versions").glob("*_faq_sponsors.py")
    assert f"Wrote alembic/versions/{written.name}." in said
    text = written.read_text()
    assert text.startswith('"""Faq sponsors."""\n')
    assert TRIGGER in text
    assert "###" not in text
    # The copy lies in a folder that git ignores.
    run(copy, "ruff", "check", "--no-respect-gitignore", ".")
    run(copy, "ruff", "format", "--check", "--no-respect-gitignore", ".")
    # It runs the first migration, and then finds nothing more to write.
    assert "It is empty" in run(copy, "dev.revision", "nothing")
    for file in [written, *written.parent.glob("*_nothing.py")]:
        file.unlink()
    said = run(copy, "dev.revision", "faq sponsors", is_refused=True)
    assert "is at a migration that this code does not have" in said
