"""docs/benchmarks.md lists what `suresql bench` lists, each once."""

import re
from pathlib import Path

from serving.bench.registry import benchmarks

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def test_the_page_lists_every_benchmark_once() -> None:
    listed = re.findall(r"^\| `suresql bench ([\w-]+)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(one.name for one in benchmarks())
