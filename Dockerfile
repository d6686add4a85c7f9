# Up to the last stages, Dockerfile and Dockerfile.worker are the same word for word, so that the second
# build of the two takes everything from the layer cache of the first.
FROM rust:1.95-slim-bookworm AS dependencies
WORKDIR /src
ENV RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR=/target
COPY Cargo.toml Cargo.lock ./
COPY protocol/Cargo.toml protocol/
COPY core/Cargo.toml core/
COPY door/Cargo.toml door/
COPY outlet/Cargo.toml outlet/
COPY orchestrator/store/Cargo.toml orchestrator/store/
COPY orchestrator/engine/Cargo.toml orchestrator/engine/
COPY orchestrator/database/Cargo.toml orchestrator/database/
COPY orchestrator/Cargo.toml orchestrator/
COPY worker/Cargo.toml worker/
COPY client/Cargo.toml client/
COPY tests/Cargo.toml tests/
# Empty sources stand in for the real ones: this layer holds the compiled dependencies and changes with
# the manifests only. A static binary needs the target named, or the procedural macros do not compile.
RUN for package in protocol core door outlet orchestrator/store orchestrator/engine orchestrator/database \
      orchestrator worker client tests; do \
      mkdir "$package/src" && touch "$package/src/lib.rs" && echo 'fn main() {}' >"$package/src/main.rs" || exit 1; \
    done && \
    cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')" \
      -p clb-orchestrator -p clb-worker -p clb-client && \
    rm -r protocol/src core/src door/src outlet/src orchestrator/store/src orchestrator/engine/src \
      orchestrator/database/src orchestrator/src worker/src client/src

FROM dependencies AS binaries
COPY . .
# Sources keep their time of last change when they are copied: cargo must see that they are newer.
RUN find . -name '*.rs' -exec touch {} + && \
    cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')" \
      -p clb-orchestrator -p clb-worker -p clb-client && \
    mkdir /out && cp /target/*/release/clb-orchestrator /target/*/release/clb-worker /target/*/release/clb /out/

# Orchestrator and database. Its user is root, for that user owns the Docker socket and the volume; give it
# no capabilities.
FROM scratch AS orchestrator
# With a fixed threshold the allocator gives memory back after a large batch: a fifth less for a long queue.
ENV MALLOC_TRIM_THRESHOLD_=131072
COPY --from=binaries /out/clb-orchestrator /clb-orchestrator
# Workers of foreign images run it.
COPY --from=binaries /out/clb-worker /clb-worker
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s CMD ["/clb-orchestrator", "healthcheck"]
ENTRYPOINT ["/clb-orchestrator"]
CMD ["serve"]

FROM scratch AS client
COPY --from=binaries /out/clb /clb
USER 65534:65534
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s CMD ["/clb", "healthcheck"]
ENTRYPOINT ["/clb"]
CMD ["serve"]
