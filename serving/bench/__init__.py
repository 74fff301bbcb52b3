"""Benchmarks: each a file whose `run` returns figures, ready for JSON, in under ten minutes."""

from .registry import Benchmark, benchmarks, run

__all__ = ["Benchmark", "benchmarks", "run"]
