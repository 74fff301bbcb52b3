"""SQL put back into words: the prompt that asks for it, and questions as the model words them.

    <bos><schema>...<ask><tell> select count ( * ) where<c0> ><v0><words> how many<t0> are older than<v0><eos>

The model points here too: where words of a question name a table or a column that the SQL uses, or are a value of it, the
reference stands in their place, so that no name has to be spelled, and a wrong one cannot be put in by habit.
"""

import re
from collections.abc import Iterator

from corpus.linking import Word, name_words
from corpus.references import ANY, ASK, EOS, TELL, WORDS, Binding, Prompt, plain

_REFERENCE = re.compile(r"<([tcv])(\d+)>")


def tell_request(folded: str) -> str:
    """What stands behind the schema, given SQL over its references."""
    return f"{ASK}{TELL}{folded.replace(EOS, '')}{WORDS}"


def tell_prompt(folded: str, prompt: Prompt) -> str:
    """The whole prompt for words, given SQL over the references of `prompt`."""
    return prompt.schema + tell_request(folded)


def told(prompt: Prompt, folded: str) -> str:
    """The question of `prompt` as the model puts it after `tell_prompt`."""
    used = set(references_used(folded, prompt.binding))
    words: list[str] = []
    for word in prompt.links.words:
        words.append((" " if word.space_before or not words else "") + plain(word.text.casefold()))
        if found := _reference(word, prompt.binding, used):
            reference, length = found
            words[-length:] = [reference]
    return "".join(words) + EOS


def references_used(folded: str, binding: Binding) -> Iterator[str]:
    """References of the SQL, and of the tables that its columns are of."""
    for match in _REFERENCE.finditer(folded):
        yield match[0]
        if match[1] == "c":
            table = binding.table_reference(binding.columns[int(match[2])][0])
            if table:
                yield table


def spoken(written: str, binding: Binding) -> str:
    """What the model wrote, with names and values in place of the references; those of nothing are left out."""

    def name(match: re.Match[str]) -> str:
        kind, number = match[1], int(match[2])
        if kind == "t" and number < len(binding.tables):
            return " " + " ".join(name_words(binding.tables[number]))
        if kind == "c" and number < len(binding.columns):
            return " " + " ".join(name_words(binding.columns[number][1]))
        if kind == "v" and number < len(binding.values):
            return " " + binding.values[number].text
        return ""

    return _REFERENCE.sub(name, written.replace(EOS, "").replace(ANY, " %")).strip()


def _reference(word: Word, binding: Binding, used: set[str]) -> tuple[str, int] | None:
    """What stands for the phrase that ends with this word, and how many words it has."""
    for i in word.values:
        if f"<v{i}>" in used:
            return f"<v{i}>", word.valued_by
    columns = [binding.column_reference(*place) for place in word.columns]
    for reference in [*columns, *map(binding.table_reference, word.tables)]:
        if reference in used:
            return reference, word.named_by
    return None
