"""Byte-level byte-pair encoding (arXiv 1508.07909), stored in Hugging Face's form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from model.errors import ModelError

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"  # ids 0, 1, 2

# A word, a single digit or a run of punctuation takes the space before it; an underscore always stands alone,
# so that `customer_id` and `customer id` share their words.
_PIECES = r"_| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}_]+|\s+(?!\S)|\s"
_BYTES = 256


class Tokenizer:
    """Text to token ids and back, without loss. Special tokens are atomic and take no spaces."""

    def __init__(self, backend: tokenizers.Tokenizer, chat_template: str | None = None) -> None:
        for expected, token in enumerate((PAD, BOS, EOS)):
            if backend.token_to_id(token) != expected:
                raise ModelError(
                    f"{token} has id {backend.token_to_id(token)}, expected {expected}; "
                    "train the tokenizer with Tokenizer.train"
                )
        self._backend = backend
        self.chat_template = chat_template
        self.pad_id, self.bos_id, self.eos_id = 0, 1, 2

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (),
        chat_template: str | None = None,
    ) -> Tokenizer:
        """Learn merges from texts until there are vocab_size tokens, special ones and 256 bytes included.

        The ids begin with <pad>, <bos>, <eos> and the special_tokens in their order. Few or short texts may
        give fewer tokens than asked.
        """
        specials = [PAD, BOS, EOS, *special_tokens]
        if len(set(specials)) < len(specials) or "" in specials:
            raise ModelError(
                f"special tokens must differ from each other and from {PAD}, {BOS}, {EOS}: {specials}"
            )
        if vocab_size < len(specials) + _BYTES:
            raise ModelError(
                f"vocab_size is {vocab_size}; {len(specials)} special tokens and {_BYTES} bytes "
                f"need {len(specials) + _BYTES} or more"
            )
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[AddedToken(token, special=True, normalized=False) for token in specials],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        return cls(backend, chat_template)

    def __len__(self) -> int:
        """How many ids there are."""
        return self._backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of text. Special tokens in it are recognised; none is added."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, on all cores."""
        return [coded.ids for coded in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens included; the inverse of `encode`."""
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def token_id(self, token: str) -> int:
        """The id of one token, such as a special one; ModelError where there is none."""
        found = self._backend.token_to_id(token)
        if found is None:
            raise ModelError(
                f"the tokenizer has no token {token!r}; name it in special_tokens when training it"
            )
        return found

    @property
    def special_tokens(self) -> list[str]:
        """All special tokens by id, <pad>, <bos> and <eos> first."""
        added = self._backend.get_added_tokens_decoder()
        return [added[index].content for index in sorted(added)]

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers' AutoTokenizer reads."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD,
            "bos_token": BOS,
            "eos_token": EOS,
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
            "additional_special_tokens": self.special_tokens[3:],
        }
        if self.chat_template is not None:
            settings["chat_template"] = self.chat_template
        (folder / "tokenizer.json").write_text(self._backend.to_str(pretty=True), encoding="utf-8")
        text = json.dumps(settings, indent=2, ensure_ascii=False)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """Read what `save` wrote; ModelError where a file is absent or broken."""
        try:
            backend = tokenizers.Tokenizer.from_str(
                (Path(folder) / "tokenizer.json").read_text(encoding="utf-8")
            )
            settings = json.loads((Path(folder) / "tokenizer_config.json").read_text(encoding="utf-8"))
        except Exception as error:  # tokenizers raises bare Exception on a broken file
            raise ModelError(
                f"cannot read the tokenizer in {folder}: {error}; it needs tokenizer.json and "
                "tokenizer_config.json as Tokenizer.save writes them"
            ) from error
        return cls(backend, settings.get("chat_template"))
