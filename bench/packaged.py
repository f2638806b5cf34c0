"""Makes those parts of the bench importable that looplite's package brings for `python -m looplite
bench`: `harness`, of which bench/harness is the other half, and `rows`. They are taken from this
checkout, and looplite itself is not imported: sqlite3 is to be measured without it.
"""

import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "python" / "looplite" / "cli" / "bench" / "program"
sys.path.append(str(PROGRAM))
