"""The documentation agrees with the code and with itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
#: ``docs/<page>.md "<heading>"`` in a comment or docstring.
CITATION = re.compile(r'docs/(\w+)\.md "([^"]+)"')
LINK = re.compile(r"\]\(([^)\s]+)\)")


def headings(page: Path) -> set[str]:
    return set(re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE))


def anchors(page: Path) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}


def citations() -> set[tuple[str, str]]:
    """The page and heading of each citation in the code."""
    files = [path for path in ROOT.rglob("*.py") if not path.relative_to(ROOT).parts[0].startswith(".")]
    return {citation for path in files for citation in CITATION.findall(path.read_text())}


def error_examples(node: Any) -> set[str]:
    """Each ``error`` text in the examples of the OpenAPI document."""
    if isinstance(node, list):
        return {text for item in node for text in error_examples(item)}
    if not isinstance(node, dict):
        return set()
    own = {node["error"]} if isinstance(node.get("error"), str) else set()
    return own | {text for item in node.values() for text in error_examples(item)}


def test_every_citation_in_the_code_names_a_heading_of_the_page() -> None:
    found = citations()
    assert ("contract", "Images") in found
    assert {(page, text) for page, text in found if text not in headings(ROOT / f"docs/{page}.md")} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        path, _, anchor = target.partition("#")
        if path.startswith(("https:", "http:", "mailto:")):
            continue
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_the_contract_quotes_the_errors_of_an_upload_as_the_api_describes_them() -> None:
    contract = (ROOT / "docs/contract.md").read_text()
    table = contract.partition("These refusals have `error` alone:")[2].partition("Rules:")[0]
    quoted = set(re.findall(r"^\| \d{3} \| `([^`]+)` \|", table, re.MULTILINE))
    document = yaml.safe_load((ROOT / "api/openapi.yaml").read_text())
    upload = document["paths"]["/api/v1/products/{id}/images"]["post"]["responses"]
    assert quoted == error_examples(upload) - {"Validation error"}
