"""The program that the type checkers look at does what it says."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

from support import looplite_only


@looplite_only
def test_typed_program() -> None:
    spec = importlib.util.spec_from_file_location("typed", Path(__file__).with_name("typed.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert asyncio.run(module.use()) == "done"
