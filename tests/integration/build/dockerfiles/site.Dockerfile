# syntax=docker/dockerfile:1
FROM alpine:3.20 AS site
WORKDIR /site
COPY --parents content/./posts/*.md docs/*/index.md ./gathered/
COPY --exclude=*.draft.md --exclude=private content/ content/
RUN <<EOT sh -e
hugo --minify
echo "built in $(pwd)" > public/where
EOT

FROM nginx:1.27-alpine
ARG TITLE="My Site"
COPY <<EOF /etc/nginx/conf.d/site.conf
server {
  server_name ${TITLE};
  location / { try_files \$uri /index.html; }
}
EOF
COPY <<-"ROBOTS" <<SITEMAP /usr/share/nginx/html/
	User-agent: $nobody
	ROBOTS
<urlset/>
SITEMAP
COPY --link --from=site --chmod=u=rwX,go=rX /site/public /usr/share/nginx/html
COPY --from=site /site/gathered /gathered
RUN <<EOF
#!/bin/sh
echo "by a program" > /by
EOF
RUN cat <<ONE > /one && cat <<TWO > /two
first
ONE
second
TWO
