"""The training mixture: prompts and targets of every task, from files of questions and from the demo's generator.

Tasks: `ask` (question to SQL), `tell` (SQL to question: back-translation), `verify` (question and SQL, then <yes> or <no>:
self-report, of known SQL, of the same made wrong, and of what a model attempted before).
"""

import hashlib
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from corpus.authored import (
    authored_files,
    authored_questions,
    build_authored_database,
    kept_for_calibration,
    read_authored,
)
from corpus.contents import Contents
from corpus.demo import build_demo_database
from corpus.demo_questions import demo_questions
from corpus.errors import CorpusError, FoldError
from corpus.fold import fold
from corpus.invented import invent_database
from corpus.linking import Near, open_words, schema_names
from corpus.nearness import Nearness
from corpus.parallel import in_order
from corpus.references import (
    CHAT_TEMPLATE,
    CLOSE,
    NO,
    REFERENCES,
    SPECIAL_TOKENS,
    YES,
    Prompt,
    ask,
    ask_narrowly,
)
from corpus.schema import Schema, Table
from corpus.spider import DatabaseFolder, Example, ddl_schema, read_examples
from corpus.synthetic import synthetic_questions
from corpus.telling import tell_request, told

__all__ = [
    "CHAT_TEMPLATE",
    "REFERENCES",
    "SPECIAL_TOKENS",
    "TextPair",
    "calibration_databases",
    "fingerprint",
    "training_texts",
    "verify_prompt",
]


class TextPair(NamedTuple):
    """What is given and what is to be learned: of `linked`, which follows the prompt, the references alone; of `given`, which
    follows that, nothing.

    `shared` stands before the prompt, the same for several pairs in a row; a pair that is `alone` lacks it.
    """

    prompt: str
    target: str
    task: str
    linked: str = ""
    shared: str = ""
    alone: bool = False
    given: str = ""


HOLDOUT = 8
"""Every n-th database of Spider's training part is left out of training, to calibrate on, unless told otherwise."""
ATTEMPTED, ATTEMPTS = "attempts.jsonl", "predictions.jsonl"
"""In the folder `attempts`: the questions, and what `suresql eval` wrote of them."""
GROUP = 16
"""Questions that share a schema in training, at most."""
Database = Callable[[str], tuple[Schema, Contents]]


@dataclass(frozen=True)
class Attempt:
    """SQL that a model wrote, and whether it gave what the known SQL gives."""

    sql: str
    correct: bool


@dataclass(frozen=True)
class Source:
    """Questions of one kind and where their databases are; `repeat` draws each that many times, renumbered.

    `in_order` is the share of prompts whose schema keeps its own order, as serving has it.
    """

    name: str
    examples: Sequence[Example]
    database: Database
    repeat: int
    in_order: float = 0.0
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    """By an example's id what a model made of it: if there is one, the example serves `verify` alone."""


def training_texts(data: dict[str, Any], seed: int, near: Nearness | None = None) -> Iterator[TextPair]:
    """Prompts and targets for `data`, the training file's table of that name; the order and content follow from `seed`.

    Keys: `root` (the folder of the data sets), `spider`, `spider_syn`, `ehrsql`, `demo_repeat` (how often each is drawn),
    `wikisql`, `demo`, `synthetic` and `invented` (how many questions; synthetic ones on the databases of Spider's training
    part, invented ones on `invented_databases` made up, 400 unless told), `authored` (how often each statement of
    `corpus.authored` is drawn) and `authored_synthetic` (how many synthetic questions on its databases), `wikisql_tables` (how
    many of WikiSQL's tables make one database, 1 unless told), `attempts` (a folder of `held_out.write_attempts` with a model's
    predictions), `attempts_repeat`, `tell` and `verify` (share of questions that also serve that task), `demo_in_order` (share
    of the demo's prompts in the schema's own order, all others being shuffled), `narrowed` (share of questions put with the
    part of their schema alone that they are about, as serving puts each a second time), `holdout` (every n-th database of
    Spider's training part, and one in n of the authored ones, is kept for calibration). `near` finds names that mean about the
    same as a word.
    Every file is read, and every line checked, before the first
    pair comes. Raises CorpusError.
    """
    _validate(data)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        sources = list(_sources(data, seed, Path(folder)))
        groups = [
            (source, group)
            for source in sources
            for _ in range(source.repeat)
            for group in _groups(source.examples, rng)
        ]
        if not groups:
            raise CorpusError(
                "[data] draws no questions; give at least one of spider, spider_syn, ehrsql, "
                "synthetic, invented, authored, wikisql, demo."
            )
        rng.shuffle(groups)
        seeds = [rng.getrandbits(64) for _ in groups]
        databases = [source.database(group[0].db_id) for source, group in groups]
        if near:
            names = {
                name
                for schema, _ in {id(d[0]): d for d in databases}.values()
                for name in schema_names(schema)
            }
            questions = {example.question for _, group in groups for example in group}
            near.learn([*names, *{word for question in questions for word in open_words(question)}])

        def pairs_of(number: int) -> list[TextPair]:
            source, group = groups[number]
            own = random.Random(seeds[number])
            order = None if own.random() < source.in_order else own.getrandbits(64)
            pairs = [
                pair
                for example in group
                for pair in _pairs(
                    example, databases[number], data, order, near, own, source.attempts.get(example.id)
                )
            ]
            # A schema that does not fit is cut by question: those cut alike stand together.
            return sorted(pairs, key=lambda pair: pair.shared)

        for pairs in in_order(pairs_of, len(groups)):
            yield from pairs


def _groups(examples: Sequence[Example], rng: random.Random) -> Iterator[list[Example]]:
    """Questions on one database each, GROUP of them at most, in random order."""
    by_database: dict[str, list[Example]] = {}
    for example in examples:
        by_database.setdefault(example.db_id, []).append(example)
    for own in by_database.values():
        rng.shuffle(own)
        yield from (own[start : start + GROUP] for start in range(0, len(own), GROUP))


def _validate(data: dict[str, Any]) -> None:
    """Raises CorpusError for a key or a value that `training_texts` has no use for."""
    shares = {"tell", "verify", "demo_in_order", "narrowed"}
    known = {
        "root",
        "spider",
        "spider_syn",
        "ehrsql",
        "synthetic",
        "invented",
        "invented_databases",
        "authored",
        "authored_synthetic",
        "wikisql",
        "wikisql_tables",
        "demo",
        "demo_repeat",
        "holdout",
        "attempts",
        "attempts_repeat",
    } | shares
    if unknown := set(data) - known:
        raise CorpusError(f"[data] has unknown keys {sorted(unknown)}; expected some of {sorted(known)}.")
    for key, value in data.items():
        kind: tuple[type, ...] = (
            (str,) if key in ("root", "attempts") else (int, float) if key in shares else (int,)
        )
        negative = isinstance(value, int | float) and value < 0
        if isinstance(value, bool) or not isinstance(value, kind) or negative:
            expected = "the path of a folder" if kind == (str,) else "a number, 0 or more"
            raise CorpusError(f"[data] {key} is {value!r}; expected {expected}.")
    for key in ("wikisql_tables", "invented_databases"):
        if data.get(key) == 0:
            raise CorpusError(f"[data] {key} is 0; expected 1 or more.")


def fingerprint(data: dict[str, Any]) -> str:
    """A digest of what `training_texts` would read: this package's sources, and the data files' sizes and times."""
    _validate(data)
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for file in sorted([*package.rglob("*.py"), *package.rglob("*.txt")]):
        digest.update(file.relative_to(package).as_posix().encode() + file.read_bytes())
    for file in sorted(Path(data.get("root", "")).glob("*/train.jsonl")) if "root" in data else []:
        digest.update(f"{file.parent.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def calibration_databases(db_ids: Sequence[str], every: int) -> frozenset[str]:
    """The databases of a training part that training leaves out: every `every`-th by name; none if 0."""
    return frozenset(sorted(set(db_ids))[::every]) if every else frozenset()


def verify_prompt(folded: str, prompt: Prompt) -> str:
    """Prompt after which the model says <yes> or <no> to its SQL: the question's own, the SQL, its end."""
    return prompt.text + folded


def _pairs(
    example: Example,
    database: tuple[Schema, Contents],
    data: dict[str, Any],
    order: int | None,
    near: Near | None,
    rng: random.Random,
    attempt: Attempt | None = None,
) -> Iterator[TextPair]:
    """The pairs of one example; `order` says how its schema is shuffled, None not at all."""
    put = ask_narrowly if rng.random() < data.get("narrowed", 0.0) else ask
    prompt = put(example.question, *database, None if order is None else random.Random(order), near)
    try:
        folded = fold(example.sql or "", prompt.binding)
    except FoldError:
        return
    shared = prompt.schema
    if attempt is not None:
        try:
            verdict = YES if attempt.correct else NO
            yield TextPair(prompt.question + fold(attempt.sql, prompt.binding), verdict, "verify", "", shared)
        except FoldError:
            pass
        return
    linked, close, rest = prompt.question.rpartition(CLOSE)
    if not close:
        linked, rest = rest, ""
    # Which columns come closest is of use where it is right, and nothing that could be foreseen.
    yield TextPair("", folded, "ask", linked, shared, given=close + rest)
    if rng.random() < data.get("tell", 0.2):
        yield TextPair(tell_request(folded), told(prompt, folded), "tell", "", shared)
    if rng.random() < data.get("verify", 0.1):
        wrong = corrupt(folded, prompt, rng)
        shown, verdict = (wrong, NO) if rng.random() < 0.5 and wrong != folded else (folded, YES)
        yield TextPair(prompt.question + shown, verdict, "verify", "", shared)


_SWAPS = (
    (" >", " <"),
    (" <", " >"),
    (" desc", ""),
    (" count (", " sum ("),
    (" max (", " min ("),
    (" min (", " max ("),
    (" avg (", " sum ("),
    (" sum (", " avg ("),
    (" and", " or"),
    (" or", " and"),
    (" distinct", ""),
    (" limit 1", ""),
    (" intersect", " union"),
    (" union", " except"),
    (" except", " intersect"),
    (" not", ""),
    (" is null", " is not null"),
)


def corrupt(folded: str, prompt: Prompt, rng: random.Random) -> str:
    """A plausible wrong variant: another column or value, another operator or aggregate, a clause dropped."""
    choices = [lambda: _swap_column(folded, prompt, rng)] * 3
    choices += [lambda a=a, b=b: folded.replace(a, b, 1) for a, b in _SWAPS if a in folded]  # type: ignore[misc]
    if " where" in folded:
        choices.append(
            lambda: re.sub(
                r" where.*?(?= group by| order by| intersect| union| except|<eos>)", "", folded, count=1
            )
        )
    if folded.startswith(" select<c"):
        choices.append(lambda: re.sub(r"^ select(<c\d+>)", r" select count (\1 )", folded))
    return rng.choice(choices)()


def _swap_column(folded: str, prompt: Prompt, rng: random.Random) -> str:
    used = re.findall(r"<c\d+>", folded)
    if not used:
        return folded
    place = rng.choice(used)
    table = prompt.binding.columns[int(place[2:-1])][0]
    near = [f"<c{i}>" for i, (t, _) in enumerate(prompt.binding.columns) if t == table or rng.random() < 0.3]
    return folded.replace(place, rng.choice(near), 1)


def _sources(data: dict[str, Any], seed: int, folder: Path) -> Iterator[Source]:
    def path(*parts: str) -> Path:
        if "root" not in data:
            raise CorpusError("[data] lacks root, the folder of the data sets; or draw from the demo alone.")
        return Path(data["root"]).joinpath(*parts)

    if any(data.get(name) for name in ("spider", "spider_syn", "synthetic")):
        db_ids = {e.db_id for e in read_examples(path("spider", "train.jsonl"))}
        databases = DatabaseFolder(path("spider", "databases"))
        kept = sorted(db_ids - calibration_databases(sorted(db_ids), int(data.get("holdout", HOLDOUT))))
        for name in ("spider", "spider_syn"):
            if data.get(name):
                examples = [e for e in read_examples(path(name, "train.jsonl")) if e.sql and e.db_id in kept]
                yield Source(name, examples, databases.read, data[name])
        if count := data.get("synthetic"):
            examples = [
                example
                for i, db_id in enumerate(kept)
                for example in synthetic_questions(
                    count * (i + 1) // len(kept) - count * i // len(kept),
                    seed,
                    databases.schema(db_id),
                    databases.path(db_id),
                    db_id,
                )
            ]
            yield Source("synthetic", examples, databases.read, 1)
    if data.get("invented"):
        yield _invented(data["invented"], data.get("invented_databases", 400), seed, folder)
    if data.get("authored") or data.get("authored_synthetic"):
        yield _authored(data, seed, folder)
    if data.get("ehrsql"):
        yield _ehrsql(path("ehrsql_2024"), data["ehrsql"])
    if data.get("wikisql"):
        yield _wikisql(
            read_examples(path("wikisql", "train.jsonl")),
            data["wikisql"],
            data.get("wikisql_tables", 1),
            seed,
        )
    if data.get("demo"):
        file = build_demo_database(folder / "demo.sqlite")
        databases = DatabaseFolder(folder)
        examples = demo_questions(data["demo"], seed, "train", file)
        yield Source(
            "demo",
            examples,
            databases.read,
            data.get("demo_repeat", 1),
            data.get("demo_in_order", 0.0),
        )
    if "attempts" in data:
        yield _attempts(Path(data["attempts"]), data.get("attempts_repeat", 1))


def _invented(count: int, number: int, seed: int, folder: Path) -> Source:
    """`count` questions, shared evenly by `number` databases that are made up for them."""
    databases = DatabaseFolder(folder)
    examples: list[Example] = []
    for i in range(number):
        db_id = f"invented-{i}"
        invent_database(folder / f"{db_id}.sqlite", seed * 1_000_003 + i)
        due = count * (i + 1) // number - count * i // number
        schema = databases.schema(db_id)
        examples += synthetic_questions(due, seed, schema, databases.path(db_id), db_id)
    return Source("invented", examples, databases.read, 1)


def _authored(data: dict[str, Any], seed: int, folder: Path) -> Source:
    """Written questions, and synthetic ones on the same databases, but those kept for calibration."""
    every = int(data.get("holdout", HOLDOUT))
    kept = [path for path in authored_files() if not kept_for_calibration(path.stem, every)]
    repeat, count = data.get("authored", 0), data.get("authored_synthetic", 0)
    databases = DatabaseFolder(folder)
    examples: list[Example] = []
    for i, file in enumerate(kept):
        authored = read_authored(file)
        path = build_authored_database(authored, folder / f"{authored.name}.sqlite")
        examples += authored_questions(authored, path, repeat, seed)
        due = count * (i + 1) // len(kept) - count * i // len(kept)
        examples += synthetic_questions(due, seed, databases.schema(authored.name), path, authored.name)
    return Source("authored", examples, databases.read, 1)


def _attempts(folder: Path, repeat: int) -> Source:
    """Questions with a model's judged answers; those that it could not answer are left out."""
    attempts: dict[str, Attempt] = {}
    for number, line in enumerate((_read(folder / ATTEMPTS)).splitlines(), start=1):
        try:
            found = json.loads(line)
            if found["sql"] and found["correct"] is not None:
                attempts[str(found["id"])] = Attempt(found["sql"], bool(found["correct"]))
        except (ValueError, KeyError, TypeError) as error:
            where = f"{folder / ATTEMPTS}, line {number}"
            raise CorpusError(
                f"{where}: no prediction ({error!r}); make the file with suresql eval."
            ) from error
    examples = [example for example in read_examples(folder / ATTEMPTED) if example.id in attempts]
    return Source("attempts", examples, DatabaseFolder(folder).read, repeat, attempts=attempts)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise CorpusError(f"{path} cannot be read: {error}; make it with suresql eval.") from error


def _wikisql(examples: Sequence[Example], count: int, tables: int, seed: int) -> Source:
    """WikiSQL's questions, `tables` of its one-table databases put together into one, so that the table is a choice too.

    The tables come without rows: their contents are the values that their own questions ask for.
    """
    rng = random.Random(seed)
    schemas = {example.db_id: ddl_schema(example.ddl or "") for example in examples}
    chosen = rng.sample(examples, min(count, len(examples)))
    db_ids = sorted({example.db_id for example in chosen})
    rng.shuffle(db_ids)
    together = {db_id: f"wikisql-{i // tables}" for i, db_id in enumerate(db_ids)}
    parts: dict[str, list[Table]] = {}
    for db_id, name in together.items():
        parts.setdefault(name, []).extend(schemas[db_id].tables)
    values: dict[str, list[tuple[str, str, str]]] = {name: [] for name in parts}
    for example in examples:
        if example.db_id in together:
            values[together[example.db_id]].extend(_literals(example.sql or ""))
    databases = {name: (Schema(tuple(own)), Contents(values[name])) for name, own in parts.items()}
    renamed = [replace(example, db_id=together[example.db_id]) for example in chosen]
    return Source("wikisql", renamed, databases.__getitem__, 1)


def _ehrsql(folder: Path, repeat: int) -> Source:
    """EHRSQL's answerable questions; its tables are empty, so that their contents are the values that are asked for."""
    examples = [example for example in read_examples(folder / "train.jsonl") if example.sql]
    databases = DatabaseFolder(folder / "databases")
    values: dict[str, set[tuple[str, str, str]]] = {example.db_id: set() for example in examples}
    for example in examples:
        found = re.findall(r"(\w+)\.(\w+) = '((?:[^']|'')*)'", example.sql or "")
        values[example.db_id].update(
            (table, column, text.replace("''", "'")) for table, column, text in found
        )
    read = {db_id: (databases.schema(db_id), Contents(sorted(own))) for db_id, own in values.items()}
    return Source("ehrsql", examples, read.__getitem__, repeat)


def _literals(sql: str) -> Iterator[tuple[str, str, str]]:
    table = re.search(r"FROM (\S+)", sql)
    for column, value in re.findall(r"\"([^\"]+)\" = '((?:[^']|'')*)'", sql):
        if table and value:
            yield table[1], column, value.replace("''", "'")
