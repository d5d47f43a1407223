ARG REGISTRY=local
ARG NAME=onbuild
ARG TAG
FROM ${REGISTRY:+$REGISTRY/}${NAME}:${TAG:-1}
ARG RELEASE=v1.2.3-rc.4
ARG ARCHIVE=app-1.2.3.tar.gz
ENV FULL=${RELEASE#v} \
    SERIES=${RELEASE%%.*} \
    NO_RC=${RELEASE%-*} \
    LAST=${RELEASE##*.} \
    STEM=${ARCHIVE%.tar.gz} \
    UNDERSCORES=${RELEASE//./_} \
    ONCE=${RELEASE/./_} \
    UNSET=${NOTHING:-fallback} \
    SET=${RELEASE:+yes} \
    PLAIN=\${RELEASE} \
    SINGLE='${RELEASE}'
RUN echo "$FULL $SERIES $NO_RC $LAST $STEM $UNDERSCORES $ONCE $UNSET $SET" > values
