"""Identifiers as words: `shipDate` is "ship date", `order_qty` is "order quantity", a table `country` holds
"countries".
"""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_SHORT = {
    "addr": "address",
    "amt": "amount",
    "avg": "average",
    "cnt": "count",
    "cust": "customer",
    "dept": "department",
    "desc": "description",
    "dob": "date of birth",
    "emp": "employee",
    "fname": "first name",
    "lname": "last name",
    "max": "maximum",
    "min": "minimum",
    "num": "number",
    "pct": "percentage",
    "prod": "product",
    "qty": "quantity",
    "ref": "reference",
    "stu": "student",
    "yr": "year",
}
_PLURALS = {
    "person": "people",
    "child": "children",
    "man": "men",
    "woman": "women",
    "staff": "staff",
    "data": "data",
}
_SINGULARS = {plural: single for single, plural in _PLURALS.items()}


def humanise(identifier: str) -> str:
    """Underscores and camelCase split, lower case, common abbreviations written out."""
    words = [word.lower() for word in _WORD.findall(identifier)]
    return " ".join(_SHORT.get(word, word) for word in words) or identifier


def plural(noun: str) -> str:
    *front, last = noun.split(" ")
    return " ".join([*front, _plural_word(last)])


def singular(noun: str) -> str:
    *front, last = noun.split(" ")
    return " ".join([*front, _singular_word(last)])


def listed(items: Sequence[str], last: str = "and") -> str:
    """a; a and b; a, b and c."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def _plural_word(word: str) -> str:
    if word in _PLURALS:
        return _PLURALS[word]
    if len(word) < 3 or word in _SINGULARS or not word.isalpha() or _singular_word(word) != word:
        return word
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in set("aeiou"):
        return word[:-1] + "ies"
    return word + "s"


def _singular_word(word: str) -> str:
    if word in _SINGULARS:
        return _SINGULARS[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "series", "species")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zzes", "ches", "shes")):
        return word[:-2]
    return word[:-1]
