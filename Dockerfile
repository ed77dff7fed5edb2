# frontdesk for several nodes: without the embedded parts, so it writes no file.
# Both images must have the same glibc. scripts/pin-images prints their digests.
ARG BUILD_IMAGE=rust:1.95.0-slim-trixie
ARG RUN_IMAGE=gcr.io/distroless/cc-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src

# The dependencies are built from the manifests alone. This layer is reused until a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY crates/bus/Cargo.toml crates/bus/
COPY crates/chat/Cargo.toml crates/chat/
COPY crates/db/Cargo.toml crates/db/
COPY crates/gateway/Cargo.toml crates/gateway/
COPY crates/identity/Cargo.toml crates/identity/
COPY crates/integrations/Cargo.toml crates/integrations/
COPY crates/media/Cargo.toml crates/media/
COPY crates/model/Cargo.toml crates/model/
COPY crates/platform/Cargo.toml crates/platform/
COPY crates/protocol/Cargo.toml crates/protocol/
COPY rooms/Cargo.toml rooms/
COPY tests/support/Cargo.toml tests/support/
COPY patches patches
RUN for crate in . crates/* rooms tests/support; do mkdir -p "$crate/src" && touch "$crate/src/lib.rs"; done \
    && mkdir rooms/benches && touch rooms/benches/rooms.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --no-default-features

# The sources may have an older time than the stand-ins that were just built: touch makes cargo build them.
COPY . .
RUN touch src/main.rs src/lib.rs crates/*/src/lib.rs rooms/src/lib.rs \
    && cargo build --release --locked --no-default-features

FROM ${RUN_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="frontdesk" \
      org.opencontainers.image.description="A real-time chat server between customers and professionals" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /src/target/release/frontdesk /frontdesk
# Numeric, so that Kubernetes can verify that it is not root.
USER 65532:65532
EXPOSE 3000
# SIGTERM starts a drain, which ends within 25 s.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["/frontdesk", "health"]
ENTRYPOINT ["/frontdesk"]
