"""Where a measurement was taken."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def load_average() -> float | None:
    """Return how many processes wanted to run during the last minute, if it is known."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def environment(server: dict[str, Any]) -> dict[str, Any]:
    """Describe this machine and what runs on it; *server* is the server's INFO."""
    kind = "valkey" if "valkey_version" in server else "redis"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "server": f"{kind} {server[f'{kind}_version']}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "load_before": load_average(),
    }


_PACKAGES = (
    *("coordkit", "redis", "hiredis", "xxhash"),
    *("python-redis-lock", "pottery", "uhashring", "tooz", "redis-hashring"),
)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return models[0].strip() if models else platform.machine()


def _commit() -> str | None:
    """Return the commit of this tree, with a plus if it was changed since."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + "+" if _git("status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or not in a repository


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", HERE, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
