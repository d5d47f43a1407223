# escape=`
FROM alpine:3.20 AS root
RUN mkdir -p /rootfs/etc /rootfs/tmp && `
    chmod 1777 /rootfs/tmp && `
    echo 'nonroot:x:65532:65532::/home/nonroot:/sbin/nologin' > /rootfs/etc/passwd
ADD files.tar.gz /rootfs/opt/
ADD --unpack=false files.tar.gz /rootfs/kept/

FROM scratch
COPY --from=root /rootfs/ /
COPY --chmod=u+x,g-w app /usr/bin/app
USER nonroot
WORKDIR /home/nonroot
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
EXPOSE 53/udp 7000-7002
LABEL com.example.vendor="ACME Incorporated" com.example.release-date=2024-02-12
HEALTHCHECK NONE
STOPSIGNAL 15
VOLUME /var/lib/app /cache
ENTRYPOINT ["/usr/bin/app"]
