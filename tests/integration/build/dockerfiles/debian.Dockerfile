FROM debian:12-slim
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG BUILD_DATE
ENV LANG=C.UTF-8 TZ=Etc/UTC
RUN set -eux; \
	apt-get update; \
	apt-get install -y --no-install-recommends \
		ca-certificates \
		curl \
# a comment between packages
		gnupg \
	; \
	rm -rf /var/lib/apt/lists/*
RUN echo "a b c" | wc -w > /words
RUN if false | cat; then echo no > /pipefail; else echo yes > /pipefail; fi
RUN addgroup --system svc && \
    mkdir -p -m 0750 /srv/data
COPY --chmod=0755 entrypoint.sh /usr/local/bin/
LABEL build-date=$BUILD_DATE "with space"="a \"quoted\" value" multi="one \
two"
WORKDIR /srv
WORKDIR data
ENTRYPOINT ["entrypoint.sh"]
CMD []
