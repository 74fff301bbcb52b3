"""The model that a configuration asks for: what saves memory or time changes no number."""

import pytest
import torch

from optim.assembly import make_model, model_config, whole_model
from optim.config import parse_config

SHAPE = {"preset": "tiny", "vocab_size": 61, "max_position_embeddings": 64}


def gradients(**train):
    config = parse_config(
        {"model": SHAPE, "train": {"steps": 1, "max_length": 32, **train}, "output": {"run": "nowhere"}},
        "the test",
    )
    torch.manual_seed(0)
    shape = model_config(config)
    model = make_model(config, shape, torch.device("cpu"))
    assert whole_model(model, shape) is model  # one process has it whole
    tokens = torch.randint(3, 61, (4, 20))
    loss, targets = model.loss(tokens[:, :-1], tokens[:, 1:])
    (loss * targets).backward()
    names = [name for name, _ in model.named_parameters()]
    return names, loss.detach(), [p.grad for p in model.parameters()]


@pytest.mark.parametrize(
    "option", ["checkpoint_activations", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_an_option_changes_neither_names_nor_gradients(option):
    plain, changed = gradients(), gradients(**{option: True})
    assert plain[0] == changed[0]
    torch.testing.assert_close(plain[1], changed[1])
    for one, other in zip(plain[2], changed[2], strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
