"""Plants bugs in a copy of the core and sees whether the model tests find them.

    python tests/c/model/mutants.py            each of them; a minute each
    python tests/c/model/mutants.py gate pool  those with such a word in their names

The copy and its build lie in build/mutants/. Prints a table: the bug, the test that found it, and
with what words. Exit status 1 if one was not found. A bug is a text that stands in the source once
and what takes its place; when the source has changed, the bug is changed with it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
COPY = ROOT / "build" / "mutants"
TESTS = {
    "histories": "model_test_histories",
    "schedule": "model_test_schedule",
    "turns": "model_test_turns",
    "groupcommit": "service_test_groupcommit_schedule",
}
SECONDS = 240


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "one completion in fifty is dropped",
        "src/engine/engine.c",
        "    lli_engine_ref(engine); /* the loop may deliver",
        "    static unsigned mutant;\n    if (++mutant % 50 == 0)\n        return;\n"
        "    lli_engine_ref(engine); /* the loop may deliver",
    ),
    Mutant(
        "one completion in a hundred is delivered twice",
        "src/engine/engine.c",
        "        request->done(request, request->user);",
        "        request->done(request, request->user);\n        static unsigned mutant;\n"
        "        if (++mutant % 100 == 0)\n            request->done(request, request->user);",
    ),
    Mutant(
        "completions are delivered youngest first",
        "src/engine/engine.c",
        "        stack->next_finished = queue;\n        queue = stack;\n        stack = next;",
        "        (void)next;\n        queue = stack;\n        stack = NULL;",
    ),
    Mutant(
        "a gate is given out of turn",
        "src/engine/gate.c",
        "        if (lli_list_first(&place->gate->line) != &place->node)\n"
        "            return false;",
        "        if (lli_list_first(&place->gate->line) == NULL)\n            return false;",
    ),
    Mutant(
        "a held snapshot outlives its turn",
        "src/engine/hold.c",
        "                lli_snapshot_release(&conn->db);\n"
        "                lli_sq.mutex_leave(mutex);",
        "                lli_sq.mutex_leave(mutex);",
    ),
    Mutant(
        "a held snapshot is read though somebody has written",
        "src/db/snapshot.c",
        "    if (LLI_LIKELY(index && unchanged(index, &snapshot->copy) &&",
        "    if (LLI_LIKELY(index && (unchanged(index, &snapshot->copy) || true) &&",
    ),
    Mutant(
        "a write does not see that a snapshot is held",
        "src/engine/inline.c",
        "    if (!plain_read && lli_snapshot_held(&conn->db.snapshot))",
        "    if (false && !plain_read && lli_snapshot_held(&conn->db.snapshot))",
    ),
    Mutant(
        "a group is told before it is committed",
        "src/engine/run_group.c",
        '    int rc = lli_run_text(conn, "COMMIT");',
        "    int rc = SQLITE_OK;",
    ),
    Mutant(
        "a group that was committed is run again",
        "src/engine/run_group.c",
        "        count_batch(writer, writer->count);\n        answer_all(writer);",
        "        count_batch(writer, writer->count);\n        scatter(writer);",
    ),
    Mutant(
        "a pool gives the connection of a lease to single statements",
        "src/service/pool_serve.c",
        "        if (!lli_slot_is_idle(slot) || slot->suspect)\n            continue;",
        "        if ((!lli_slot_is_idle(slot) && slot->state != LLI_SLOT_LEASED) ||\n"
        "            slot->suspect)\n            continue;",
    ),
    Mutant(
        "a pool serves who came last",
        "src/service/pool_serve.c",
        "            lli_list_push(&pool->lines[waiter->line], &request->queue_node);",
        "            lli_list_push_front(&pool->lines[waiter->line], &request->queue_node);",
    ),
    Mutant(
        "a lease leaves its transaction to the next one",
        "src/engine/reset.c",
        "    if (lli_db_in_transaction(&conn->db)) {\n        reset->rolled_back = true;",
        "    if (false && lli_db_in_transaction(&conn->db)) {\n        reset->rolled_back = true;",
    ),
    Mutant(
        "an executemany that stopped midway is told not to be applied",
        "src/engine/run_many.c",
        "request->outcome = request->progress > 0 || changed ? LL_UNKNOWN : LL_NOT_APPLIED;",
        "request->outcome = LL_NOT_APPLIED;",
    ),
    Mutant(
        "the queue of a connection is a stack",
        "src/engine/conn.c",
        "    lli_list_push(&conn->queue, &request->queue_node);\n    conn->snapshot.idle = false;",
        "    lli_list_push_front(&conn->queue, &request->queue_node);\n"
        "    conn->snapshot.idle = false;",
    ),
    Mutant(
        "an atomic executemany has no savepoint",
        "src/engine/run_many.c",
        "    if (rc == SQLITE_OK && many->atomic && !request->savepoint)",
        "    if (false && rc == SQLITE_OK && many->atomic && !request->savepoint)",
    ),
    Mutant(
        "deadlines are not looked at",
        "src/engine/engine.c",
        "    expire(engine);\n    lli_delay_run(engine);",
        "    (void)expire;\n    lli_delay_run(engine);",
    ),
    Mutant(
        "a cancelled request that waits still runs",
        "src/engine/request.c",
        "    if (!move(request, LLI_REQUEST_QUEUED, LLI_REQUEST_RUNNING))\n        return false;\n"
        "    /* It may",
        "    if (!move(request, LLI_REQUEST_QUEUED, LLI_REQUEST_QUEUED))\n        return false;\n"
        "    /* It may",
    ),
]


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="replace")


def prepare() -> None:
    COPY.mkdir(parents=True, exist_ok=True)
    for name in ("src", "include", "tests", "adapters", "third_party", "tools", "fuzz"):
        target = COPY / "tree" / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("meson.build", "meson_options.txt", "LICENSE"):
        shutil.copy2(ROOT / name, COPY / "tree" / name)
    if not (COPY / "out" / "build.ninja").exists():
        done = run(
            "meson",
            "setup",
            str(COPY / "out"),
            str(COPY / "tree"),
            "-Dtests=true",
            "-Dlibrary=false",
        )
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr)


def build() -> str:
    done = run("ninja", "-C", str(COPY / "out"), *(f"tests/c/{name}" for name in TESTS.values()))
    return "" if done.returncode == 0 else done.stdout


def words(text: str) -> str:
    """What the test said of its failure."""
    for line in text.replace("\r", "\n").splitlines():
        said = line.strip()
        if (
            ".c:" in said
            or ".h:" in said
            or "watchdog" in said
            or "Assertion" in said
            or "not so" in said
        ):
            return said.rsplit("/", 1)[-1][:110]
    return "it crashed"


def hunt() -> tuple[str, str]:
    environment = dict(os.environ, LOOPLITE_TEST_TIMEOUT="20")
    for name, program in TESTS.items():
        try:
            done = subprocess.run(
                [str(COPY / "out" / "tests" / "c" / program)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            return name, "it does not end"
        if done.returncode != 0:
            return name, words(done.stderr + done.stdout)
    return "", "not found"


def main() -> int:
    wanted = [
        m for m in MUTANTS if not sys.argv[1:] or any(word in m.name for word in sys.argv[1:])
    ]
    prepare()
    problem = build()
    if problem:
        sys.exit(problem)
    if not sys.argv[1:] and (found := hunt())[0]:
        sys.exit(f"without any bug {found[0]} fails: {found[1]}")
    missed = 0
    for mutant in wanted:
        path = COPY / "tree" / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            sys.exit(
                f"{mutant.name}: its text stands {text.count(mutant.old)} times in {mutant.file}"
            )
        path.write_text(text.replace(mutant.old, mutant.new))
        problem = build()
        by, said = ("", "it does not compile: " + problem[-400:]) if problem else hunt()
        print(f"| {mutant.name} | {by or '-'} | {said} |", flush=True)
        missed += not by
        path.write_text(text)
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
