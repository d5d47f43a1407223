# syntax=docker/dockerfile:1.7
ARG GO_VERSION=1.23
ARG ALPINE_VERSION=3.20

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine${ALPINE_VERSION} AS build
WORKDIR /src
# Modules first: they change less often than the code.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod,sharing=locked \
    go mod download
COPY . .
ARG TARGETOS TARGETARCH
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    --mount=type=bind,source=.,target=. \
    CGO_ENABLED=0 GOOS=${TARGETOS:-linux} GOARCH=$TARGETARCH \
    go build -trimpath -ldflags="-s -w -X main.version=${VERSION}" -o /out/server .

FROM scratch
ARG VERSION
COPY --from=build /etc/passwd /etc/passwd
COPY --from=build --chown=65532:65532 /out/server /server
USER 65532:65532
EXPOSE 8080/tcp 9090
ENV PORT=8080
LABEL org.opencontainers.image.version="${VERSION:-dev}" \
      org.opencontainers.image.title="server"
ENTRYPOINT ["/server"]
CMD ["--listen", ":8080"]
