FROM rust:1.82 AS chef
WORKDIR /app

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=planner /app/recipe.json recipe.json
# Built again only when the recipe changes.
RUN cargo chef cook --release --recipe-path recipe.json
COPY . .
RUN cargo build --release --bin app

FROM chef AS tests
RUN exit 1

FROM debian:12-slim AS runtime
WORKDIR /app
COPY --from=builder /app/target/release/app /usr/local/bin/
ENV RUST_LOG=info
ENTRYPOINT ["/usr/local/bin/app"]
