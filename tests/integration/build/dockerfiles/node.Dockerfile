ARG NODE=20
FROM node:${NODE}-alpine AS base
WORKDIR /app
ENV NEXT_TELEMETRY_DISABLED 1

FROM base AS dependencies
COPY package*.json ./
RUN NODE_ENV=production npm ci --omit=dev

FROM base AS build
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json .
COPY src ./src
RUN npm run build && \
    # Nobody needs these.
    rm -rf src

FROM base AS final
ENV NODE_ENV=production \
    PATH="/app/node_modules/.bin:$PATH"
RUN addgroup -S app && adduser -S -G app app
COPY --from=dependencies --chown=app:app /app/node_modules ./node_modules
COPY --from=build --chown=app:app /app/dist ./dist
USER app
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --retries=3 \
  CMD wget -qO- http://localhost:3000/health || exit 1
CMD [ "node", "dist/bundle.js" ]
