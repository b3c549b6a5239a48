"""Makes the environment of the image `scorer` small: drops files that never run, keeps the bytecode of those that do.

Run by the environment's own Python, which has compiled nothing yet.
"""

from __future__ import annotations

import compileall
import importlib
import pkgutil
import shutil
import sys
import sysconfig
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib"))
SOURCES = {".pyi", ".pyx", ".pxd", ".c", ".h", ".cpp", ".hpp"}  # of what is compiled already
TOOLS = ("onnxruntime/quantization", "onnxruntime/tools", "onnxruntime/transformers", "sqlalchemy/testing")
OURS = ("service", "guards", "wardgate")
LATER = ("psycopg", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.aiosqlite")


def main() -> None:
    for folder in (*(SITE / tool for tool in TOOLS), *SITE.rglob("tests")):
        if folder.is_dir():
            shutil.rmtree(folder)
    for file in [file for file in SITE.rglob("*") if file.suffix in SOURCES and file.is_file()]:
        file.unlink()
    for name in LATER:  # imported when the store opens
        importlib.import_module(name)
    for package in OURS:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            try:
                importlib.import_module(module.name)
            except ImportError as error:  # torch's and scipy's, which this image has not
                print(f"{module.name}: {error}")
    files = {str(path) for module in tuple(sys.modules.values()) if (path := getattr(module, "__file__", None))}
    for source in sorted(files | {str(path) for package in OURS for path in (SITE / package).rglob("*.py")}):
        if source.startswith(str(SITE)) and source.endswith(".py"):
            assert compileall.compile_file(source, quiet=1)


if __name__ == "__main__":
    main()
