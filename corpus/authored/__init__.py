"""Databases and questions written one by one, to be worded as people word them: what no grammar of questions comes upon."""

from corpus.authored.drawing import authored_questions, build_authored_database
from corpus.authored.reading import Authored, Block, authored_files, kept_for_calibration, read_authored

__all__ = [
    "Authored",
    "Block",
    "authored_files",
    "authored_questions",
    "build_authored_database",
    "kept_for_calibration",
    "read_authored",
]
