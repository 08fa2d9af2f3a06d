# The command `luthier` on a machine's CPU. Build it in the root of the checkout:
#
#     docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu -t luthier .
#
# docs/install.md says how to play a song in it, and how to add the compiler for Snapdragons.
FROM python:3.11-slim-bookworm AS made
# Where PyTorch comes from: without it pip's own index, whose build for Linux brings GPU libraries.
ARG TORCH_INDEX=""
# Extras of pyproject.toml, as `qualcomm` or `qualcomm,formats`.
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN python -m venv /opt/luthier
COPY requirements-user.lock requirements-torch.lock ./
RUN /opt/luthier/bin/python -m pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
    --requirement requirements-torch.lock
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY core core
COPY hydra_plugins hydra_plugins
COPY luthier luthier
COPY plugins plugins
COPY recipes recipes
# The versions of the lock, as limits: which of its packages are installed depends on the extras, and
# pip takes hashes for all packages of a call or for none.
RUN sed -n 's/^\([^ #][^\\]*==[^\\]*[^ \\]\).*/\1/p' requirements-user.lock > versions.txt \
    && /opt/luthier/bin/python -m pip install --constraint versions.txt ".${EXTRAS:+[$EXTRAS]}"

FROM python:3.11-slim-bookworm
COPY --from=made /opt/luthier /opt/luthier
# Weights and results are cached at home. Anybody may write there, since `docker run --user` names a
# user that the image does not know.
RUN useradd --create-home --uid 1000 luthier && chmod 1777 /home/luthier \
    && install --directory --owner luthier --mode 1777 /work
ENV HOME=/home/luthier PATH=/opt/luthier/bin:$PATH
USER luthier
WORKDIR /work
ENTRYPOINT ["luthier"]
CMD ["--help"]
