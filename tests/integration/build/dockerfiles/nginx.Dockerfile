# check=skip=SecretsUsedInArgOrEnv
FROM nginx:1.27-alpine
ARG SERVER_NAME=localhost
ENV NGINX_PORT=8080 \
    NGINX_HOST=${SERVER_NAME}
COPY nginx.conf.template /etc/nginx/templates/default.conf.template
COPY ["docker entrypoint.sh", "/docker-entrypoint.d/40 app.sh"]
RUN envsubst < /etc/nginx/templates/default.conf.template > /etc/nginx/default.conf \
 && mkdir -p /var/log && ln -sf /dev/stdout /var/log/access.log \
 && chmod +x "/docker-entrypoint.d/40 app.sh"
COPY html /usr/share/nginx/html
EXPOSE $NGINX_PORT
STOPSIGNAL SIGQUIT
CMD nginx -g 'daemon off;'
