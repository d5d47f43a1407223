FROM eclipse-temurin:21-jdk AS build
WORKDIR /build
COPY pom.xml .
COPY src src
RUN mvn -B -DskipTests package

FROM eclipse-temurin:21-jdk AS jre
ARG MODULES=java.base,java.logging
RUN jlink --add-modules $MODULES --strip-debug --no-man-pages --output /jre

FROM debian:12-slim
ENV JAVA_HOME=/opt/java
ENV PATH "${JAVA_HOME}/bin:${PATH}"
COPY --from=jre /jre $JAVA_HOME
COPY --from=build /build/target/*.jar /app/app.jar
WORKDIR /app
ENV JAVA_OPTS="-XX:MaxRAMPercentage=75.0 -Djava.security.egd=file:/dev/./urandom"
ENTRYPOINT exec java $JAVA_OPTS -jar app.jar
