# The default command of hybrid-ir in a container: trains and measures on embedded data, offline.
#
#   docker build -t hybrid-ir .
#   docker run --rm -v hybrid_ir_outputs:/app/outputs hybrid-ir
#   docker run --rm -v hybrid_ir_outputs:/app/outputs hybrid-ir train debug=smoke
#
# For GPUs of NVIDIA: torch as PyPI has it brings CUDA, and the driver comes from the host.
#
#   docker build -t hybrid-ir:cuda --build-arg TORCH_INDEX= .
#   docker run --rm --gpus all -v hybrid_ir_outputs:/app/outputs hybrid-ir:cuda train trainer=gpu

FROM python:3.11-slim AS build
WORKDIR /src
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt build hatchling
COPY pyproject.toml README.md LICENSE train.py ./
COPY conf conf
COPY hydra_plugins hydra_plugins
COPY hybrid_ir hybrid_ir
RUN python -m build --wheel --no-isolation --outdir /wheels

FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Extras of pyproject.toml that are installed too, such as [faiss,lora].
ARG EXTRAS=
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /tmp/wheels
RUN PIP_EXTRA_INDEX_URL="$TORCH_INDEX" pip install --no-cache-dir \
        -c /tmp/constraints.txt "$(ls /tmp/wheels/*.whl)$EXTRAS" \
    && rm -r /tmp/wheels /tmp/constraints.txt
# No process of it is root. 1000 is the first user of most hosts, so mounted folders fit.
RUN useradd --uid 1000 --create-home hybrid \
    && mkdir -p /app/outputs /app/.cache /app/data \
    && chown -R hybrid:hybrid /app
USER 1000
WORKDIR /app
# Hugging Face's files stay beside ours, so that one volume at /app/.cache keeps all of them.
ENV HYBRID_IR_CACHE=/app/.cache \
    HF_HOME=/app/.cache/huggingface \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1
VOLUME /app/outputs
ENTRYPOINT ["hybrid-ir"]
CMD ["train"]
