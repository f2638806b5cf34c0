"""The tests of the tutorial's program, each with a database of its own."""

from __future__ import annotations

from fastapi.testclient import TestClient
from links import create_app
from looplite.testing import Database


def test_a_link_is_followed_and_counted(looplite_db: Database) -> None:
    with TestClient(create_app(looplite_db.database), follow_redirects=False) as client:
        made = client.post("/links", json={"url": "https://example.org/news"})
        assert made.status_code == 201
        slug = made.json()["slug"]

        answer = client.get(f"/{slug}")
        assert answer.status_code == 307
        assert answer.headers["location"] == "https://example.org/news"
        assert client.get(f"/links/{slug}/visits").json() == {"visits": 1}


def test_a_link_that_is_not_there(looplite_db: Database) -> None:
    with TestClient(create_app(looplite_db.database)) as client:
        assert client.get("/nowhere").status_code == 404
        assert client.post("/links", json={"url": "no URL"}).status_code == 422
