"""A dataset of made-up tokens whose examples have the lengths that are asked for."""

from collections.abc import Sequence

from optim import DatasetBuilder, TokenDataset


def make(
    lengths: Sequence[int], weights: Sequence[float] | None = None, vocabulary: int = 1000
) -> TokenDataset:
    """Example i has lengths[i] tokens: a prompt of a third of them, then the target."""
    builder = DatasetBuilder(vocabulary, max_length=10_000)
    for i, length in enumerate(lengths):
        tokens = [(i * 7 + k) % 900 + 3 for k in range(length)]
        weight = 1.0 if weights is None else weights[i]
        builder.add(tokens[: length // 3], tokens[length // 3 :], f"task{i % 2}", weight)
    return builder.build()
