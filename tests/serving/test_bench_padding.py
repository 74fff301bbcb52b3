"""What the model's benchmark trains on is what it says."""

import torch

from model.tree_attention import trees
from optim.dataset import NO_TARGET, PADDING
from serving.bench.padding import LONGEST, tree_batch


def test_the_benchmarks_trees_have_trunks_and_branches_of_the_sizes_it_names() -> None:
    tokens, targets, branch = tree_batch(512, 4 * LONGEST)
    assert tokens.shape == targets.shape == branch.shape == (4, LONGEST)
    for tree in trees(branch):
        assert 150 <= tree.trunk <= 250
        assert tree.branches > 8 and tree.longest <= 60
        assert LONGEST - 60 < tree.end <= LONGEST
    learned = targets != NO_TARGET
    assert not learned[(branch == 0) | (branch == PADDING)].any()
    assert torch.equal(tokens == 0, branch == PADDING)
    assert 0.3 < learned.float().mean() < 0.45
