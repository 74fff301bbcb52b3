"""What uqlm and lm-polygraph make of answers: a program for a Python that has them, which knows nothing of this project.

    PYTHON peer_scores.py FOLDER_OF_MINILM < answers.jsonl > scores.json

Each line holds `text`, `logprobs`, `entropies` (of each token's whole distribution), `tops` (the largest log-probabilities
of each token), `samples` (texts) and `sample_logprobs`. Printed is {"scores": {name: [numbers]}, "versions",
"missing": {name: why}}: higher is surer, as it comes out of each, uncertainties with their sign turned.
"""

import importlib.metadata
import json
import sys
from typing import Any

import numpy as np

Lines = list[dict[str, Any]]


def main() -> None:
    lines: Lines = [json.loads(line) for line in sys.stdin]
    scores: dict[str, list[float]] = {}
    missing: dict[str, str] = {
        "uqlm semantic_negentropy, semantic_density, noncontradiction": "need microsoft/deberta-large-mnli, which is downloaded",
        "uqlm judges and p_true": "ask a chat model",
        "uqlm BERTScore": "needs a model that is downloaded",
        "lm-polygraph semantic entropy, DegMat and kin by NLI, SAR": "need an entailment model that is downloaded",
        "lm-polygraph SelfCertainty, RenyiNeg, FisherRao, BoostedProb": "need each token's whole distribution, which is not kept",
    }
    for name, peer in (("uqlm", uqlm), ("lm-polygraph", polygraph)):
        for label, call in peer(lines):
            try:
                found = [float(one) for one in call()]
                if len(found) != len(lines):
                    raise ValueError(f"{len(found)} scores for {len(lines)} answers")
                scores[f"{name} {label}"] = found
            except Exception as error:  # one scorer that fails is told, the others count
                missing[f"{name} {label}"] = f"{type(error).__name__}: {error}"[:200]
    versions = {}
    for package in ("uqlm", "lm-polygraph"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    print(json.dumps({"scores": scores, "versions": versions, "missing": missing}))


def uqlm(lines: Lines) -> list[tuple[str, Any]]:
    texts = [one["text"] for one in lines]
    samples = [one["samples"] for one in lines]
    tokens = [
        [
            {"token": "", "logprob": p, "top_logprobs": [{"logprob": q} for q in top]}
            for p, top in zip(one["logprobs"], one["tops"], strict=True)
        ]
        for one in lines
    ]
    sampled = [[[{"logprob": p} for p in some] for some in one["sample_logprobs"]] for one in lines]
    k = len(lines[0]["tops"][0])

    def single(name: str, normalised: bool = True) -> Any:
        from uqlm.white_box.single_logprobs import SingleLogprobsScorer

        return SingleLogprobsScorer([name], length_normalize=normalised).evaluate(tokens)[name]

    def top(name: str) -> Any:
        from uqlm.white_box.top_logprobs import TopLogprobsScorer

        return TopLogprobsScorer([name], top_k_logprobs=k).evaluate(tokens)[name]

    def over_samples(name: str) -> Any:
        from uqlm.white_box.sampled_logprobs import SampledLogprobsScorer

        scorer = SampledLogprobsScorer([name], sentence_transformer=sys.argv[1])
        return scorer.evaluate(texts, samples, tokens, sampled)[name]

    def match() -> Any:
        from uqlm.black_box.match import MatchScorer

        return MatchScorer().evaluate(texts, samples)

    def cosine() -> Any:
        from uqlm.black_box.cosine import CosineScorer

        return CosineScorer(transformer=sys.argv[1]).evaluate(texts, samples)

    return [
        ("min_probability", lambda: single("min_probability")),
        ("sequence_probability, normalised", lambda: single("sequence_probability")),
        ("sequence_probability", lambda: single("sequence_probability", False)),
        ("mean_token_negentropy", lambda: top("mean_token_negentropy")),
        ("min_token_negentropy", lambda: top("min_token_negentropy")),
        ("probability_margin", lambda: top("probability_margin")),
        ("monte_carlo_probability", lambda: over_samples("monte_carlo_probability")),
        ("consistency_and_confidence", lambda: over_samples("consistency_and_confidence")),
        ("exact_match", match),
        ("cosine_sim", cosine),
    ]


def polygraph(lines: Lines) -> list[tuple[str, Any]]:
    stats = {
        "greedy_log_likelihoods": [one["logprobs"] for one in lines],
        "entropy": [one["entropies"] for one in lines],
        "sample_texts": [one["samples"] for one in lines],
        "sample_log_probs": [[sum(some) for some in one["sample_logprobs"]] for one in lines],
        "sample_tokens": [[[0] * len(some) for some in one["sample_logprobs"]] for one in lines],
    }

    def sure(name: str, **options: Any) -> Any:
        import lm_polygraph.estimators as estimators

        return -np.asarray(getattr(estimators, name)(**options)(stats))

    return [
        ("MaximumSequenceProbability", lambda: sure("MaximumSequenceProbability")),
        ("Perplexity", lambda: sure("Perplexity")),
        ("MeanTokenEntropy", lambda: sure("MeanTokenEntropy")),
        ("MonteCarloSequenceEntropy", lambda: sure("MonteCarloSequenceEntropy")),
        ("MonteCarloNormalizedSequenceEntropy", lambda: sure("MonteCarloNormalizedSequenceEntropy")),
        ("LexicalSimilarity rougeL", lambda: sure("LexicalSimilarity", metric="rougeL")),
        ("LexicalSimilarity BLEU", lambda: sure("LexicalSimilarity", metric="BLEU")),
        ("DegMat Jaccard", lambda: sure("DegMat", similarity_score="Jaccard_score")),
        ("EigValLaplacian Jaccard", lambda: sure("EigValLaplacian", similarity_score="Jaccard_score")),
        ("Eccentricity Jaccard", lambda: sure("Eccentricity", similarity_score="Jaccard_score")),
    ]


if __name__ == "__main__":
    main()
