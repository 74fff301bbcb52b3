"""Which parameters get Muon, which AdamW."""

import pytest
from tiny_training import TinyModel
from torch import nn

from optim import OptimError, parameter_table, split_parameters


def sorted_names(model, **options):
    muon, adamw, undecayed = set(), set(), set()
    for group in split_parameters(model, **options):
        kind = muon if group["use_muon"] else undecayed if group.get("weight_decay") == 0 else adamw
        kind |= {name for name, _ in group["params"]}
    return muon, adamw, undecayed


def test_matrices_get_muon_and_the_rest_adamw():
    muon, adamw, undecayed = sorted_names(TinyModel())
    assert muon == {
        "attention.q_proj.weight",
        "attention.k_proj.weight",
        "attention.v_proj.weight",
        "experts",
        "down.weight",
    }
    assert adamw == {"embed_tokens.weight", "lm_head.weight"}
    assert undecayed == {"down.bias", "norm.weight", "norm.bias"}


def test_a_router_is_a_gate_but_a_gate_projection_is_none():
    layer = nn.ModuleDict({"gate": nn.Linear(4, 2, bias=False), "gate_proj": nn.Linear(4, 8, bias=False)})
    muon, adamw, _ = sorted_names(nn.ModuleDict({"mlp": layer}))
    assert muon == {"mlp.gate_proj.weight"}
    assert adamw == {"mlp.gate.weight"}


def test_an_embedding_is_known_by_its_type_whatever_its_name_and_may_be_tied():
    model = nn.Module()
    model.words = nn.Embedding(5, 4)
    model.out = nn.Linear(4, 5, bias=False)
    model.out.weight = model.words.weight
    assert sorted_names(model) == (set(), {"words.weight"}, set())


def test_frozen_parameters_are_left_out_and_convolutions_get_adamw():
    model = nn.ModuleDict({"conv": nn.Conv2d(2, 2, 3, bias=False), "frozen": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    assert sorted_names(model) == (set(), {"conv.weight"}, set())


def test_adamw_may_have_a_learning_rate_of_its_own():
    groups = split_parameters(TinyModel(), adam_lr=0.5)
    assert [group.get("lr") for group in groups] == [None, 0.5, 0.5]


def test_the_table_names_every_parameter_with_its_shape():
    table = parameter_table(split_parameters(TinyModel()))
    assert table.splitlines()[0] == "Muon: 5 tensors, 2,304 parameters"
    for name, parameter in TinyModel().named_parameters():
        assert f"{'x'.join(map(str, parameter.shape))}  {name}" in table


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(OptimError, match="Identity"):
        split_parameters(nn.Identity())
