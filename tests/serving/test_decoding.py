"""The decoding loops agree with plain ones: no batch, no cache, one token at a time over the whole text."""

import itertools

import pytest
import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from serving.engines.decoding import beam_search, decode, score

EOS, PAD = 1, 0
PROMPTS = [[5, 9, 3, 7], [4], [8, 8, 2, 6, 11, 12, 13, 14, 9], [3, 10]]


@pytest.fixture(scope="module")
def model() -> DeepseekV3ForCausalLM:
    torch.manual_seed(3)
    config = DeepseekV3Config(
        vocab_size=24, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=2, n_shared_experts=1, n_routed_experts=4, n_group=1,
        num_experts_per_tok=2, topk_group=1, first_k_dense_replace=1, q_lora_rank=None, kv_lora_rank=16,
        qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8, max_position_embeddings=64,
    )  # fmt: skip
    model = DeepseekV3ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    return model


@torch.inference_mode()
def next_logprobs(model: DeepseekV3ForCausalLM, ids: list[int]) -> torch.Tensor:
    """The oracle: a forward pass over the whole text."""
    return model(torch.tensor([ids]), use_cache=False).logits[0, -1].float().log_softmax(-1)


def plain_greedy(
    model: DeepseekV3ForCausalLM, prompt: list[int], steps: int, allowed: list[int] | None = None
) -> list[int]:
    written: list[int] = []
    while len(written) < steps and EOS not in written:
        logprobs = next_logprobs(model, prompt + written)
        if allowed is not None:
            barred = torch.ones(len(logprobs), dtype=torch.bool)
            barred[[*allowed, EOS]] = False
            logprobs = logprobs.masked_fill(barred, -torch.inf)
        written.append(int(logprobs.argmax()))
    return written


@torch.inference_mode()
def test_a_batch_decodes_each_prompt_as_if_alone(model: DeepseekV3ForCausalLM) -> None:
    found = decode(model, PROMPTS, max_tokens=12, eos_id=EOS, pad_id=PAD)
    for prompt, (one,) in zip(PROMPTS, found, strict=True):
        expected = plain_greedy(model, prompt, 12)
        assert list(one.ids) == expected
        assert one.stopped == (expected[-1] == EOS)


@torch.inference_mode()
def test_logprobs_are_those_of_a_full_forward_pass_also_under_a_mask(model: DeepseekV3ForCausalLM) -> None:
    allowed = [[3, 4, 5, 6], None, [2], list(range(24))]
    found = decode(model, PROMPTS, max_tokens=6, eos_id=EOS, pad_id=PAD, allowed=allowed)
    for prompt, mask, (one,) in zip(PROMPTS, allowed, found, strict=True):
        assert list(one.ids) == plain_greedy(model, prompt, 6, mask)
        assert mask is None or set(one.ids) <= {*mask, EOS}
        for i, (token, logprob) in enumerate(zip(one.ids, one.logprobs, strict=True)):
            assert logprob == pytest.approx(
                float(next_logprobs(model, prompt + list(one.ids[:i]))[token]), abs=1e-4
            )


@torch.inference_mode()
def test_scores_are_the_logprobs_of_a_full_forward_pass(model: DeepseekV3ForCausalLM) -> None:
    continuations = [[2, 3], [9, 9, 9, 1], [], [7]]
    found = score(model, PROMPTS, continuations, PAD)
    for prompt, continuation, logprobs in zip(PROMPTS, continuations, found, strict=True):
        expected = [
            float(next_logprobs(model, prompt + continuation[:i])[token])
            for i, token in enumerate(continuation)
        ]
        assert logprobs == pytest.approx(expected, abs=1e-4)


@torch.inference_mode()
def test_a_beam_that_holds_every_text_finds_the_best_of_them_all(model: DeepseekV3ForCausalLM) -> None:
    few, steps = [2, 3], 3
    best = []
    for prompt in PROMPTS:
        totals = []
        for length in range(steps):
            for body in itertools.product(few, repeat=length):
                (logprobs,) = score(model, [prompt], [[*body, EOS]], PAD)
                totals.append((sum(logprobs), (*body, EOS)))
        best.append(sorted(totals, reverse=True))
    found = beam_search(
        model, PROMPTS, beams=7, max_tokens=steps, eos_id=EOS, pad_id=PAD, allowed=[few] * len(PROMPTS)
    )
    for expected, several in zip(best, found, strict=True):
        stopped = [one for one in several if one.stopped]
        assert [one.ids for one in stopped] == [ids for _, ids in expected][: len(stopped)]
        assert [sum(one.logprobs) for one in stopped] == pytest.approx(
            [t for t, _ in expected][: len(stopped)], abs=1e-3
        )
        assert len(stopped) == 7


@torch.inference_mode()
def test_beams_of_a_batch_are_those_of_each_prompt_alone(model: DeepseekV3ForCausalLM) -> None:
    together = beam_search(model, PROMPTS, beams=3, max_tokens=8, eos_id=EOS, pad_id=PAD)
    for prompt, several in zip(PROMPTS, together, strict=True):
        (alone,) = beam_search(model, [prompt], beams=3, max_tokens=8, eos_id=EOS, pad_id=PAD)
        assert [one.ids for one in several] == [one.ids for one in alone]
        assert len({one.ids for one in several}) == len(several) == 3
        for one in several:
            (logprobs,) = score(model, [prompt], [list(one.ids)], PAD)
            assert one.logprobs == pytest.approx(logprobs, abs=1e-4)


@torch.inference_mode()
def test_one_beam_is_greedy(model: DeepseekV3ForCausalLM) -> None:
    found = beam_search(model, PROMPTS, beams=1, max_tokens=10, eos_id=EOS, pad_id=PAD)
    assert [[one.ids for one in several] for several in found] == [
        [one.ids for one in several]
        for several in decode(model, PROMPTS, max_tokens=10, eos_id=EOS, pad_id=PAD)
    ]


@torch.inference_mode()
def test_samples_follow_the_model_and_their_seed(model: DeepseekV3ForCausalLM) -> None:
    def draw(seed: int) -> list[int]:
        (several,) = decode(
            model, [PROMPTS[0]], max_tokens=1, eos_id=EOS, pad_id=PAD, n=4_000, temperature=1.0,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        return [one.ids[0] for one in several]

    first = draw(1)
    assert first == draw(1) != draw(2)
    frequencies_V = torch.bincount(torch.tensor(first), minlength=24) / len(first)
    assert torch.allclose(frequencies_V, next_logprobs(model, PROMPTS[0]).exp(), atol=0.04)
