# The key server, without PyTorch.  Build from the repository's root:
#   docker build -f docker/keyserver.Dockerfile -t faceseal-keyserver .
# Other roots and traces are extras: --build-arg EXTRAS=postgresql,vault-transit,traces
FROM python:3.13-slim AS build
ARG EXTRAS=postgresql
WORKDIR /build
COPY constraints.txt ./
COPY sdk sdk
COPY keyserver keyserver
COPY migrations migrations
RUN python -m venv /opt/keyserver \
 && /opt/keyserver/bin/pip install --no-cache-dir --constraint constraints.txt ./sdk "./keyserver[${EXTRAS}]"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/keyserver keyserver \
 && install -d -o keyserver -m 0700 /var/lib/keyserver
COPY --from=build /opt/keyserver /opt/keyserver
ENV PATH=/opt/keyserver/bin:$PATH PYTHONUNBUFFERED=1 KEYSERVER_DATA=/var/lib/keyserver
USER keyserver
VOLUME /var/lib/keyserver
EXPOSE 8480
# Any command of `keyserver`: init once, before the first start and at each upgrade; then serve.
ENTRYPOINT ["keyserver"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8480"]
