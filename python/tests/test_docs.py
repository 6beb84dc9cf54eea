"""Every block of Python in the guide and in the README is run; those of a file are that file's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bowline_ecs import Sandbox
from conftest import answer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "guide" / "python.md", ROOT / "python" / "README.md"]
BLOCK = re.compile(r"^```python *([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, kind: str) -> list[str]:
    return [text for word, text in BLOCK.findall(page.read_text()) if word == kind]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_run_in_order(page: Path, bowline_sandbox: Sandbox) -> None:
    with bowline_sandbox.client().forward("web", 8080) as web:
        answer(web.host, web.port)  # the page takes it for granted
    found = blocks(page, "")
    assert len(found) >= (9 if page.name == "python.md" else 1)
    names: dict[str, object] = {}
    for text in found:
        line = page.read_text().count("\n", 0, page.read_text().index(text))
        exec(compile("\n" * line + text, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_in_it_pass(page: Path, pytester: pytest.Pytester) -> None:
    texts = blocks(page, "test")
    pytester.makepyfile("\n".join(texts))
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed="\n".join(texts).count("def test_"))


def test_what_is_shown_of_a_file_is_in_it() -> None:
    shown = [(word.removeprefix("file="), text) for word, text in BLOCK.findall(PAGES[0].read_text()) if word.startswith("file=")]
    assert shown
    for name, text in shown:
        assert text in (ROOT / name).read_text(), f"{name} is not as the guide shows it"


def test_no_block_is_of_another_kind() -> None:
    kinds = {word.split("=")[0] for page in PAGES for word, _ in BLOCK.findall(page.read_text())}
    assert kinds == {"", "test", "file"}
