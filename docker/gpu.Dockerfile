# vLLM on a GPU with the shipped checkpoint, an engine for the gateway. Build from the repository's root:
#   docker build -f docker/gpu.Dockerfile -t suresql-vllm:gpu .
FROM vllm/vllm-openai:v0.32.0

ENV HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_MLA_DISABLE=1
COPY model/weights/nano /models/nano
RUN useradd --uid 10001 --create-home suresql
USER 10001
EXPOSE 8000
# Latent attention's kernels want kv_lora_rank=512: the shipped model has less, so that it is off above.
CMD ["--model", "/models/nano", "--served-model-name", "nano", "--dtype", "bfloat16", "--max-model-len", "2048", \
     "--scheduling-policy", "priority", "--enable-prompt-tokens-details", "--shutdown-timeout", "30"]
