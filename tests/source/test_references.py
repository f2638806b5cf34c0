"""The references of the documentation site: nothing is left out, and links lead somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import docs_c  # noqa: E402
import docs_python  # noqa: E402
import headers  # noqa: E402


def c_pages() -> dict[str, str]:
    found = [*headers.read(ROOT), *headers.adapters(ROOT)]
    return {uri.removeprefix(f"{docs_c.FOLDER}/"): text for uri, text in docs_c.pages(found)}


def test_each_name_of_c_has_a_place() -> None:
    pages = c_pages()
    for header in headers.read(ROOT)[1:]:
        text = pages[f"{header.path.stem}.md"]
        for d in header.declarations:
            assert f"{{ #{d.name.rstrip('_')} }}" in text, d.name
            for word in ("Thread", "Owns", "Errors", "Since") if d.kind == "function" else ():
                assert d.said.fields[word], (d.name, word)


def test_links_between_names_of_c_lead_somewhere() -> None:
    pages = c_pages()
    anchors = {name: set(re.findall(r"\{ #(\w+) \}", text)) for name, text in pages.items()}
    links = 0
    for name, text in pages.items():
        for page, anchor in re.findall(r"\]\((\w+\.md)(?:#(\w+))?\)", text):
            assert page in pages, (name, page)
            assert not anchor or anchor in anchors[page], (name, page, anchor)
            links += 1
    assert links > 400


def test_what_modules_offer_is_on_their_pages() -> None:
    pages = dict(docs_python.pages())
    connection = pages["reference/looplite.md"]
    for name in ("connect", "Connection", "stats", "install"):
        assert f"::: looplite.{name}\n" in connection
    assert "looplite.Row" not in connection  # sqlite3's
    # What several frameworks share is shown once.
    assert pages["reference/web.md"].count(".RequestSession\n") == 1
    assert pages["reference/web.md"].count(".SQLSpecPlugin\n") == 5
