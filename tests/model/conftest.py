"""Every shape, and a tokenizer small enough to train on the spot."""

from collections.abc import Iterator

import pytest
import torch
from tiny_models import SHAPES

from model import ModelConfig, Tokenizer


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from a second thread, and lose much where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> ModelConfig:
    return SHAPES[request.param]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    texts = [
        "SELECT name FROM supplier WHERE city = 'Oslo';",
        "The name of each city in 2019_name, city_name?",
    ] * 20
    template = "{% for m in messages %}<q>{{ m['content'] }}{% endfor %}"
    return Tokenizer.train(texts, 400, ["<q>", "<sql>"], chat_template=template)
