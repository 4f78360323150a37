#!/bin/sh
# bootstrap.sh SCRIPT [ARGS...]: the one step between a fresh clone with only Node and npm, and our
# TypeScript. Installs the packages of package-lock.json when they are missing or older than it, and
# runs SCRIPT with the Bun that comes among them.
set -eu

cd "$(dirname "$0")/.."
stamp=node_modules/.package-lock.json # npm writes it at the end of an install

# A linked node_modules is somebody else's: npm ci would empty it.
if [ ! -L node_modules ] && { [ ! -e "$stamp" ] || [ package-lock.json -nt "$stamp" ]; }; then
  echo "Installing packages ..." >&2
  npm ci --silent --no-audit --no-fund --no-progress || {
    echo "bootstrap: npm ci failed; run it by hand to see why" >&2
    exit 1
  }
  touch "$stamp"
fi

# The package "bun" fills node_modules/.bin/bun in an install script, which npm 11 does not run
# unasked; the program itself is in a package of its own beside it.
for bun in node_modules/.bin/bun node_modules/@oven/bun-linux-*/bin/bun; do
  if "$bun" --version >/dev/null 2>&1; then
    exec "$bun" "$@"
  fi
done
echo "bootstrap: no Bun in node_modules runs on this machine ($(uname -sm))" >&2
exit 1
