"""Drives the showcase server over real sockets: python test_httpd.py PATH/TO/httpd.

Each test starts the program on a fresh file and a free port, and ends it by a signal; it has to end
with status 0. A lock that another process could hold is held here by the sqlite3 module: so a
write waits for sure, and nothing depends on how fast the machine is. What only looplite can do (the
loop goes on while something waits) is left out for the peer.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROGRAM = ""
PEER = False
MANY = 200_000 if os.environ.get("LL_TEST_SLOW") else 1_000_000  # lines that take a while
PATIENCE = 20.0  # seconds until a test gives up; nothing takes so long


class Client:
    """One connection, spoken by hand: what is sent and what is answered are separate steps."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, path: str, body: bytes | None = None, *headers: str) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    def more(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(f"closed by the server after {self.buffer!r}")
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.more():
                raise EOFError(f"closed by the server in the middle of {size} bytes")
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def head(self) -> tuple[int, dict[str, str]]:
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    def answer(self, *, without_body: bool = False) -> tuple[int, dict[str, str], bytes]:
        status, headers = self.head()
        if without_body or status == 204:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, b"".join(self.chunks())
        return status, headers, self.exactly(int(headers["content-length"]))

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.until(b"\r\n"), 16):
            yield self.exactly(size)
            self.exactly(2)
        self.exactly(2)

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        self.ask(method, path, body)
        status, _, text = self.answer()
        return status, json.loads(text) if text else None

    def closed(self) -> bool:
        """Waits for the server to close; what still comes is an error."""
        try:
            return not self.buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


class Server(unittest.TestCase):
    """A test with a server of its own."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="httpd-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "notes.db")
        self.clients: list[Client] = []
        self.start()

    def start(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [PROGRAM, "--database", str(self.path), "--port", "0", *self.options, *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        first = self.process.stdout.readline()
        self.port = int(first.rsplit(":", 1)[1].split("/")[0])

    def tearDown(self) -> None:
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.ended() == 0
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def ended(self) -> int:
        """Waits for the end of the program."""
        status = self.process.wait(PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()
        return status

    def client(self) -> Client:
        self.clients.append(Client(self.port))
        return self.clients[-1]

    def stats(self) -> dict[str, Any]:
        client = Client(self.port)
        try:
            found = client.call("GET", "/stats")[1]
        finally:
            client.close()
        assert isinstance(found, dict)
        return found

    def until(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Asks for the numbers until they are as expected."""
        end = time.monotonic() + PATIENCE
        while not what(stats := self.stats()):
            if time.monotonic() > end:
                self.fail(f"still {stats}")
        return stats

    def notes(self) -> int:
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            found = db.execute("SELECT count(*) FROM note").fetchone()[0]
        assert isinstance(found, int)
        return found

    def fill(self, rows: int, size: int) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as db, db:
            db.execute(
                "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                " INSERT INTO note SELECT i, 0, printf('%0*d', ?, i) FROM n",
                (rows, size),
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody else holds the write lock."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield
            db.execute("ROLLBACK")


class Talking(Server):
    """HTTP as such, and the notes."""

    options = ("--max-body", "100000")

    def test_notes(self) -> None:
        client = self.client()
        assert client.call("GET", "/notes/1")[0] == 404
        assert client.call("POST", "/notes", b"first") == (201, {"id": 1})
        assert client.call("PUT", "/notes/7", 'a "b" \\ \n ü'.encode()) == (204, None)
        status, note = client.call("GET", "/notes/7")
        assert (status, note["id"], note["text"]) == (200, 7, 'a "b" \\ \n ü')
        assert client.call("PUT", "/notes/7", b"again") == (204, None)
        assert client.call("GET", "/notes/7")[1]["text"] == "again"
        assert client.call("POST", "/import", b"x1\nx2\nx3") == (201, {"count": 3})
        assert client.call("GET", "/search?x") == (200, {"count": 3})
        assert client.call("DELETE", "/notes/7") == (204, None)
        assert client.call("DELETE", "/notes/7")[0] == 404
        client.ask("GET", "/notes")
        status, headers, body = client.answer()
        texts = [json.loads(line)["text"] for line in body.splitlines()]
        assert (status, texts) == (200, ["first", "x1", "x2", "x3"])
        assert headers["transfer-encoding"] == "chunked"
        assert self.stats()["accepted"] == 2  # all of it on one connection

    def test_answers_come_in_order(self) -> None:
        client = self.client()
        client.call("POST", "/import", b"\n".join(b"%d" % n for n in range(1, 101)))
        paths = [f"/notes/{n}" if n % 3 else "/search?7" for n in range(1, 101)]
        client.send(b"".join(f"GET {path} HTTP/1.1\r\n\r\n".encode() for path in paths))
        for n, path in enumerate(paths, 1):
            status, _, body = client.answer()
            assert status == 200, path
            expected = {"count": 19} if path == "/search?7" else {"id": n, "text": str(n)}
            assert expected.items() <= json.loads(body).items()

    def test_byte_by_byte(self) -> None:
        client = self.client()
        for (
            byte
        ) in b"POST /notes HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /notes/1 HTTP/1.1\r\n\r\n":
            client.send(bytes([byte]))
        assert client.answer()[0] == 201
        assert json.loads(client.answer()[2])["text"] == "hello"

    def test_versions_of_http(self) -> None:
        old = self.client()
        old.send(b"GET /stats HTTP/1.0\r\n\r\n")
        assert old.answer()[1]["connection"] == "close"
        assert old.closed()
        old = self.client()
        old.send(
            b"POST /import HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\na\nb"
        )
        assert old.answer()[0] == 201
        old.send(b"GET /notes HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        status, headers = old.head()
        assert "transfer-encoding" not in headers
        while old.more():
            pass
        assert (status, len(old.buffer.splitlines())) == (200, 2)
        new = self.client()
        new.ask("GET", "/notes/1", None, "Connection: close")
        assert new.answer()[0] == 200
        assert new.closed()

    def test_head_and_continue(self) -> None:
        client = self.client()
        client.call("POST", "/notes", b"first")
        client.ask("HEAD", "/notes/1")
        status, headers, _ = client.answer(without_body=True)
        assert status == 200
        assert int(headers["content-length"]) > 10
        client.send(b"PUT /notes/2 HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.head()[0] == 100
        client.send(b"two")
        assert client.answer()[0] == 204
        client.send(
            b"PUT /notes/3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nth\r\n3\r\nree\r\n0\r\n\r\n"
        )
        assert client.answer()[0] == 204
        assert client.call("GET", "/notes/3")[1]["text"] == "three"

    def test_what_is_refused(self) -> None:
        big = b"x" * 100001
        for status, closes, text in [
            (400, True, b"nonsense\r\n\r\n"),
            (400, False, b"PUT /notes/1 HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xc0\x80"),
            (404, False, b"GET /nothing HTTP/1.1\r\n\r\n"),
            (404, False, b"GET /notes/-1 HTTP/1.1\r\n\r\n"),
            (404, False, b"GET /notes/1x HTTP/1.1\r\n\r\n"),
            (405, False, b"DELETE /notes HTTP/1.1\r\n\r\n"),
            (405, False, b"POST /notes/1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
            (413, True, b"PUT /notes/1 HTTP/1.1\r\nContent-Length: 100001\r\n\r\n" + big),
            (
                413,
                True,
                b"PUT /notes/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n" + big,
            ),
            (414, True, b"GET /" + b"x" * 1025 + b" HTTP/1.1\r\n\r\n"),
            (431, True, b"GET / HTTP/1.1\r\n" + b"X: 123456789\r\n" * 1000 + b"\r\n"),
        ]:
            with self.subTest(text=text[:60]):
                client = self.client()
                client.send(text)
                assert client.answer()[0] == status
                if closes:
                    assert client.closed()
                else:
                    assert client.call("GET", "/stats")[0] == 200
        assert self.notes() == 0


class Limits(Server):
    """Clients that are slow, idle, too many."""

    options = ("--max-clients", "3", "--idle-ms", "300", "--request-ms", "300", "--write-ms", "300")

    def test_too_many(self) -> None:
        served = [self.client() for _ in range(3)]
        for client in served:
            assert client.call("GET", "/stats")[0] == 200
        late = self.client()
        assert late.answer()[0] == 503
        assert late.closed()

    def test_an_idle_one_is_closed(self) -> None:
        client = self.client()
        assert client.call("GET", "/stats")[0] == 200
        assert client.closed()

    def test_one_that_never_ends_its_request(self) -> None:
        client = self.client()
        client.send(b"GET /stats HTTP/1.1\r\nX: ")
        assert client.answer()[0] == 408
        assert client.closed()

    def test_one_that_takes_nothing_is_cut_off(self) -> None:
        self.fill(20000, 1000)
        client = self.client()
        client.ask("GET", "/notes")
        self.until(lambda stats: stats["gone"] == 1)
        with contextlib.suppress(EOFError, ConnectionResetError):
            client.answer()
            self.fail("the answer is whole")


class Starting(Server):
    """What it says when it cannot."""

    def refused(self, *options: str) -> str:
        done = subprocess.run(
            [PROGRAM, *options], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode in (1, 2), done
        return done.stderr

    def test_a_port_that_is_taken(self) -> None:
        other = self.path.with_name("other.db")
        said = self.refused("--port", str(self.port), "--database", str(other))
        assert f"port {self.port}: address already in use" in said

    def test_a_file_that_cannot_be(self) -> None:
        said = self.refused("--port", "0", "--database", str(self.path / "no.db"))
        assert "unable to open database file" in said

    def test_wrong_options(self) -> None:
        for options in [("--port", "x"), ("--nothing", "1"), ("--port",), ("port", "1")]:
            assert f"{options[0]} is no option with a value" in self.refused(*options)


class Ending(Server):
    """Signals and crashes."""

    def test_idle_clients_are_no_reason_to_stay(self) -> None:
        client = self.client()
        assert client.call("GET", "/stats")[0] == 200
        self.process.send_signal(signal.SIGINT)
        assert client.closed()
        assert self.process.wait(PATIENCE) == 0

    def test_what_was_answered_survives_a_kill(self) -> None:
        client = self.client()
        for n in range(20):
            assert client.call("PUT", f"/notes/{n}", b"x")[0] == 204
        assert client.call("POST", "/import", b"x\n" * 1000)[0] == 201
        self.process.kill()
        assert self.ended() == -signal.SIGKILL
        self.start()
        assert self.client().call("GET", "/search?x")[1] == {"count": 1020}

    def test_a_client_that_leaves_in_the_middle_of_a_scan(self) -> None:
        self.fill(20000, 1000)
        client = self.client()
        client.ask("GET", "/notes")
        assert client.head()[0] == 200
        client.close()
        stats = self.until(lambda stats: stats["gone"] == 1 and not stats.get("leased"))
        assert stats["requests"] < 20000
        assert self.client().call("PUT", "/notes/1", b"x")[0] == 204

    def test_a_client_that_leaves_in_the_middle_of_an_import(self) -> None:
        for _ in range(3):
            before = self.notes()
            client = self.client()
            client.ask("POST", "/import", b"x\n" * 50_000)
            client.close()
            self.until(lambda stats: stats["open"] == 1 and not stats.get("leased"))
            assert self.notes() - before in (0, 50_000)  # all of them or none

    def test_backpressure(self) -> None:
        self.fill(20000, 1000)
        client = self.client()
        client.ask("GET", "/notes")
        assert client.head()[0] == 200
        # It reads no more. The server holds a part of the 20 MB for it, and serves others.
        for _ in range(50):
            assert self.stats()["unsent"] < 2000000
        lines = b"".join(client.chunks()).splitlines()
        assert len(lines) == 20000
        assert json.loads(lines[-1])["id"] == 20000
        assert client.call("GET", "/notes/5")[0] == 200


class Loop(Server):
    """The loop goes on while something waits."""

    options = ("--patience-ms", "60000", "--timeout-ms", "60000")

    def setUp(self) -> None:
        if PEER:
            self.skipTest("with sqlite3 on the loop everybody waits")
        super().setUp()

    def test_others_are_served_while_writes_wait_and_commit_together(self) -> None:
        reader = self.client()
        assert reader.call("POST", "/notes", b"first")[0] == 201
        before = self.stats()
        writers = [self.client() for _ in range(50)]
        with self.locked():
            for n, writer in enumerate(writers):
                writer.ask("PUT", f"/notes/{n}", b"text")
            self.until(lambda stats: stats["requests"] - before["requests"] > 50)
            assert reader.call("GET", "/notes/1")[1]["text"] == "first"
            assert reader.call("GET", "/search?first")[1] == {"count": 1}
        for writer in writers:
            assert writer.answer()[0] == 204
        # the numbers of a commit may come a moment after its answers
        after = self.until(lambda stats: stats["writes"] - before["writes"] >= 50)
        assert after["commits"] - before["commits"] < 25

    def test_a_write_whose_client_left_is_not_done(self) -> None:
        keeps = self.client()
        with self.locked():
            leaves = self.client()
            leaves.ask("POST", "/import", b"a\nb\nc")
            self.until(lambda stats: stats["leased"] == 1)
            keeps.ask("PUT", "/notes/100", b"text")
            leaves.close()
            self.until(lambda stats: stats["gone"] == 1 and stats["leased"] == 0)
        assert keeps.answer()[0] == 204
        assert self.notes() == 1

    def test_a_transaction_whose_client_left_is_rolled_back(self) -> None:
        leaves = self.client()
        leaves.ask("POST", "/import", b"x\n" * MANY)
        with contextlib.closing(sqlite3.connect(self.path, timeout=0)) as db:
            while not (self.stats()["leased"] and self.writing(db)):
                if self.notes():
                    self.skipTest("it was done before we looked")
        leaves.close()
        self.until(lambda stats: stats["gone"] == 1 and stats["leased"] == 0)
        assert self.notes() in (0, MANY)  # a commit that has begun happens

    @staticmethod
    def writing(db: sqlite3.Connection) -> bool:
        """Whether somebody else holds the write lock."""
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        db.rollback()
        return False

    def test_who_is_served_is_answered_before_the_end(self) -> None:
        waits, idle = self.client(), self.client()
        assert idle.call("GET", "/notes/1")[0] == 404
        before = self.stats()["statements"]
        with self.locked():
            waits.ask("PUT", "/notes/1", b"last words")
            self.until(lambda stats: stats["statements"] == before + 1)
            self.process.send_signal(signal.SIGTERM)
            assert idle.closed()
            with contextlib.suppress(ConnectionRefusedError):
                Client(self.port)
                self.fail("it still listens")
        status, headers, _ = waits.answer()
        assert (status, headers["connection"]) == (204, "close")
        assert waits.closed()
        waits.close()
        assert self.process.wait(PATIENCE) == 0
        assert self.notes() == 1


class Impatient(Server):
    """The end that waits for nobody."""

    options = ("--patience-ms", "200", "--timeout-ms", "60000")

    def test_who_waits_too_long_is_cut_off(self) -> None:
        if PEER:
            self.skipTest("with sqlite3 on the loop the signal waits, too")
        client = self.client()
        before = self.stats()["statements"]
        with self.locked():
            client.ask("PUT", "/notes/1", b"text")
            self.until(lambda stats: stats["statements"] == before + 1)
            self.process.send_signal(signal.SIGTERM)
            assert client.closed()
            assert self.process.wait(PATIENCE) == 0
        assert self.notes() == 0


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    PEER = Path(PROGRAM).name.startswith("httpd_sqlite")
    unittest.main()
