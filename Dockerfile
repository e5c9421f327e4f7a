# syntax=docker/dockerfile:1
# One small image for every part: `marquee` is the entry point, the part is its argument.
#   docker build -t marquee .        docker run --rm --env-file config/reservation.env marquee host reservation
# Needs BuildKit, the builder of Docker 23 and newer; for an older one set DOCKER_BUILDKIT=1. `docker compose` 2 always uses it.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Fat LTO: about ten minutes on two cores that do nothing else, and 5 GB of memory: with less the compiler is killed ("signal: 9").
# On a small machine build elsewhere and load the image (docker save, docker load). The caches are kept for the next build on the same builder, so
# the binary is copied out of them. --locked: the versions that CI has tested.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --release --locked --bin marquee \
    && cp target/release/marquee /marquee
# The mount point of volumes, which inherit its owner.
RUN mkdir /data

# glibc, certificates and time zones, no shell, no package manager, not root (uid 65532).
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /marquee /usr/local/bin/marquee
COPY --from=build --chown=65532:65532 /data /var/lib/marquee
WORKDIR /var/lib/marquee
# HEALTH_ADDR: health checks of each host and the gateway. HTTP_ADDR: REST, gateway only.
ENV HEALTH_ADDR=0.0.0.0:9090 HTTP_ADDR=0.0.0.0:8080 LOG_FORMAT=json
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["marquee"]
CMD ["--help"]
