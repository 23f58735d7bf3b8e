"""A million entries, verified as an outsider does: how long it takes, and in how much memory.

Makes an export with entries as long as those of releases, then runs `faceseal audit verify` on
it, in both versions of the format.  A process starts with its parent's peak of memory, so this one stays small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from made_log import KEY, made_log, written

SECONDS = 60
MEGABYTES = 100
_HEX = "0123456789abcdef" * 4


def release(index: int) -> bytes:
    """An entry of a release, with made-up ids."""
    number = f"{index:012x}"
    entry = {
        "actor": f"reporter-{index % 97}",
        "at": 1_800_000_000 + index // 50,
        "event": "release.denied" if index % 11 == 0 else "release.allowed",
        "grant": f"019e3a58-0b17-7c2d-8e4f-{number}",
        "index": index,
        "jkt": _HEX[:31] + number,
        "key": f"019e3a52-7c41-7b8e-9d2f-{number}",
        "recipient": _HEX[:31] + number,
        "tenant": "default",
        "token": f"0f1e2d3c-4b5a-4978-8695-{number}",
        "uses_left": index % 7,
        "version": 1,
    }
    return json.dumps(entry, separators=(",", ":"), sort_keys=True).encode()


def verify(path: Path) -> tuple[float, int]:
    """Seconds, and the most kilobytes that the process held."""
    command = [sys.executable, "-m", "faceseal.cli", "audit", "verify", str(path), "--key", str(KEY)]
    begun = time.perf_counter()
    process = os.posix_spawn(sys.executable, command, os.environ)
    _, status, used = os.wait4(process, 0)
    if status:
        raise SystemExit(f"the export did not verify (status {status})")
    return time.perf_counter() - begun, used.ru_maxrss


def make(count: int, folder: Path) -> None:
    """Write the export in both versions; to be called in a process of its own, for it takes much memory."""
    made = made_log(count, release)
    plain = sum(len(leaf) + 1 for leaf in made.leaves)
    for version, lines in ((2, made.export()), (1, made.plain_export())):
        more = written(folder / f"{version}.jsonl", lines).stat().st_size / plain - 1
        print(f"version {version}: {count:,} entries of {plain / count:.0f} bytes, {more:.1%} more for their proof")


def main() -> None:
    """Print what each version takes, and fail if that is too long or too much."""
    if len(sys.argv) > 2:
        make(int(sys.argv[1]), Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        count = sys.argv[1] if len(sys.argv) > 1 else "1000000"
        subprocess.run([sys.executable, __file__, count, folder], check=True)
        taken = {version: verify(Path(folder) / f"{version}.jsonl") for version in (2, 1)}
    for version, (seconds, kilobytes) in taken.items():
        print(f"version {version}: verified in {seconds:.1f} s, {kilobytes / 1024:.0f} MB at most")
    if any(seconds > SECONDS or kilobytes > MEGABYTES * 1024 for seconds, kilobytes in taken.values()):
        raise SystemExit(f"that is more than {SECONDS} s or {MEGABYTES} MB")


if __name__ == "__main__":
    main()
