"""Call one function in a fresh process.  A program, started by `processes.worker`."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import sys
from types import ModuleType


def load(module: str, file: str) -> ModuleType:
    """Import *module* by its name, or from its *file* if no path leads to the name."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # pytest's import mode "importlib" invents names that nothing can import.
        spec = importlib.util.spec_from_file_location(module, file)
        if error.name is None or not module.startswith(error.name) or spec is None:
            raise
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[module] = loaded
        assert spec.loader is not None
        spec.loader.exec_module(loaded)
        return loaded


def main() -> None:
    """Obey the order in the first argument; a coroutine is run to its end."""
    order = json.loads(sys.argv[1])
    sys.path[:] = order["path"]
    function = getattr(load(order["module"], order["file"]), order["function"])
    result = function(*order["args"], **order["kwargs"])
    if inspect.iscoroutine(result):
        asyncio.run(result)


if __name__ == "__main__":
    main()
