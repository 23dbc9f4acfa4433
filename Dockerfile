# pacos for CPUs. As it is started, it runs the demonstration; any other `pacos …` command can be given.
#
#   docker build -t pacos .
#   docker run --rm -v "$PWD/work:/workspace" pacos                                  the demonstration, about ten minutes
#   docker run --rm -v "$PWD/work:/workspace" pacos pacos run --config my.yaml
#
# The folder is mounted for user 1000; --build-arg UID=$(id -u) builds for another one.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
FROM ${BASE_IMAGE}

# vLLM's kernels need libnuma; with g++ and Python's headers, long runs are compiled for the CPU that they find.
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends g++ libnuma1 && rm -rf /var/lib/apt/lists/*

ARG UID=1000
RUN useradd --create-home --uid "${UID}" pacos && mkdir /workspace && chown pacos /workspace

# The tested versions, apart from pacos: a change of its code installs only itself again. torch comes from PyTorch's
# index of CPU builds; --build-arg TORCH_SOURCE="--find-links FOLDER" takes it from a folder that the build can read.
ARG TORCH_SOURCE="--torch-backend cpu"
ENV PATH=/opt/pacos/bin:$PATH UV_CACHE_DIR=/var/cache/python/uv PIP_CACHE_DIR=/var/cache/python/pip
COPY locks/cpu.txt /opt/locks/cpu.txt
RUN --mount=type=cache,target=/var/cache/python,sharing=locked \
    python3 -m venv /opt/pacos && pip install "uv>=0.8" \
    && uv pip install --python /opt/pacos --link-mode copy --compile-bytecode --no-deps ${TORCH_SOURCE} \
        --requirement /opt/locks/cpu.txt
COPY . /opt/source
RUN --mount=type=cache,target=/var/cache/python,sharing=locked \
    uv pip install --python /opt/pacos --link-mode copy --compile-bytecode --no-deps /opt/source

USER ${UID}
WORKDIR /workspace
ENV HF_HOME=/workspace/.cache/huggingface
CMD ["sh", "-ec", "test -f quickstart.yaml || pacos init quickstart --from quickstart; pacos fetch smollm2; HF_HUB_OFFLINE=1 pacos run --config quickstart.yaml"]
