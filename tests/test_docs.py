"""What the documents promise exists: files, headings, targets."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
import yaml

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"`((?:engine|policies|simulator|experiments|conf|tests)/[\w./-]+)`")
TARGET = re.compile(r"`make ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)`")


@pytest.fixture(scope="module")
def documents(project_files: list[Path], root: Path) -> dict[Path, str]:
    return {path: (root / path).read_text(encoding="utf-8") for path in project_files if path.suffix == ".md"}


def links(text: str) -> list[str]:
    """Targets of links and pictures outside code blocks."""
    return [first or second for first, second in LINK.findall(FENCE.sub("", text))]


def anchors(text: str) -> set[str]:
    """The anchors that a heading gets on common forges."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path: Path, text: str, root: Path) -> list[str]:
    """Relative links of one document that lead nowhere."""
    found = []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = root / path.parent / target if target else root / path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            found.append(f"{path}: {link}")
    return found


def test_readme_exists(root: Path) -> None:
    assert (root / "README.md").is_file()


def test_relative_links_resolve(documents: dict[Path, str], root: Path) -> None:
    assert documents
    assert [link for path, text in documents.items() for link in broken(path, text, root)] == []


def test_every_page_stands_in_the_index_once(documents: dict[Path, str]) -> None:
    pages = {path.name for path in documents if path.parent == Path("docs")} - {"README.md"}
    index = documents[Path("docs/README.md")]
    assert Counter(links(index)) == Counter(pages)
    assert len(re.findall("^## (Judge|Serve|Research|Reference)", index, re.MULTILINE)) == 4
    assert "docs/README.md" in links(documents[Path("README.md")])


def test_files_named_in_the_documents_exist(documents: dict[Path, str], root: Path) -> None:
    """A page must not lead to where a file was; capitals stand for names of the reader's own."""
    named = {
        (str(page), path)
        for page, text in documents.items()
        if page.name not in ("CHANGELOG.md", "CONTRIBUTING.md")  # what was, and what a recipe makes
        for path in PATH.findall(text)
        if not re.search(r"[A-Z]{3}|\bmine\b", path)
    }
    assert len(named) > 100
    assert {(page, path) for page, path in named if not (root / path).exists()} == set()


def test_citation_is_that_of_the_project(root: Path) -> None:
    """The keys that the Citation File Format 1.2.0 demands, and no fact that differs from pyproject.toml."""
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert set(cited) <= {
        *("cff-version", "message", "title", "authors", "type", "abstract", "version", "date-released", "license"),
        *("keywords", "repository-code", "url", "doi"),
    }
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert all(set(author) in ({"name"}, {"given-names", "family-names"}) for author in cited["authors"])
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert cited["keywords"] == project["keywords"]
    assert date.fromisoformat(cited["date-released"]) <= date.today()


def test_targets_exist(documents: dict[Path, str], root: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        (str(path), target)
        for path, text in documents.items()
        for names in TARGET.findall(text)
        for target in names.split()
    }
    assert {pair for pair in named if pair[1] not in targets} == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](there.md)", []),
        ("[a](there.md#two-words)", []),
        ("[a](#here)\n# Here", []),
        ("[a](https://example.org/x)", []),
        ("```\n[a](gone.md)\n```", []),
        ("[a](gone.md)", ["doc.md: gone.md"]),
        ("![a](gone.png)", ["doc.md: gone.png"]),
        ("[a](there.md#gone)", ["doc.md: there.md#gone"]),
    ],
)
def test_broken_links_are_found(text: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "doc.md").write_text(text, encoding="utf-8")
    (tmp_path / "there.md").write_text("## Two words!\n", encoding="utf-8")
    assert broken(Path("doc.md"), text, tmp_path) == expected
