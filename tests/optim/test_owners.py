"""Owner sharding beside the plain way, in which every rank gathers everything."""

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from optim.errors import OptimError
from optim.owners import OwnerSharding
from optim.sharding import GatherWhole
from optim.worlds import in_world

CASES = [
    ((12, 8), [Replicate(), Shard(0)]),
    ((5, 9), [Replicate(), Shard(0)]),  # rows that do not divide
    ((1, 6), [Replicate(), Shard(0)]),  # fewer rows than ranks
    ((8, 3), [Shard(0), Replicate()]),
    ((7, 7), [Replicate(), Replicate()]),
    ((6, 2), [Shard(0), Shard(0)]),
    ((4, 6, 10), [Replicate(), Shard(0)]),
    ((3, 6, 10), [Replicate(), Shard(0)]),
    ((5, 2, 3), [Replicate(), Replicate()]),
]


def cubes(matrices):
    """Of a whole matrix alone can this be had."""
    return [matrix @ matrix.mT @ matrix for matrix in matrices]


def both_ways(shape):
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("copies", "shard"))
    torch.manual_seed(0)
    directions = [distribute_tensor(torch.randn(size), mesh, placements) for size, placements in CASES]
    owned = OwnerSharding().orthogonalise(directions, cubes)
    return owned, GatherWhole().orthogonalise(directions, cubes)


@pytest.mark.parametrize("mesh", [(1, 2), (2, 1), pytest.param((2, 2), marks=pytest.mark.slow)], ids=str)
def test_each_rank_gets_its_part_of_what_the_owner_made(mesh):
    for owned, gathered in in_world(mesh[0] * mesh[1], both_ways, mesh):
        for one, other in zip(owned, gathered, strict=True):
            torch.testing.assert_close(one, other)


def by_columns():
    mesh = init_device_mesh("cpu", (2,))
    direction = distribute_tensor(torch.randn(4, 4), mesh, [Shard(1)])
    with pytest.raises(OptimError, match=r"placed as .*it takes Shard\(0\) and Replicate"):
        OwnerSharding().orthogonalise([direction], cubes)


def test_columns_are_refused():
    in_world(2, by_columns)
