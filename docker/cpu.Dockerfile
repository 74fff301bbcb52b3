# SureSQL with the model in its process, or as a gateway before engines elsewhere. Build from the repository's root:
#   docker build -f docker/cpu.Dockerfile -t suresql:cpu .
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
# PyTorch's own index of CPU builds keeps gigabytes of CUDA libraries out; give another, or none, where it is not reached.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /srv/suresql
COPY pyproject.toml README.md LICENSE ./
COPY corpus corpus
COPY model model
COPY optim optim
COPY serving serving
COPY sqlconf sqlconf
RUN pip install --extra-index-url "${TORCH_INDEX}" -e . \
    && useradd --uid 10001 --create-home suresql \
    && install -d -o suresql -g suresql /var/lib/suresql

USER 10001
ENV SURESQL_HOST=0.0.0.0 SURESQL_HOME=/var/lib/suresql SURESQL_ACCESS_LOG=true
VOLUME /var/lib/suresql
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["suresql", "serve"]
