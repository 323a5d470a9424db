#!/bin/bash
# Fetches the real peers of the trace tests, pinned, into a cache folder: Jaeger (built from its Go module) and the
# Zipkin server (from Maven Central). Does nothing when they are there.
set -eu
JAEGER=v1.76.0
ZIPKIN=3.5.1
CACHE=${SIGHTLINE_COLLECTORS:-$HOME/.cache/sightline/collectors}
WANTED="$JAEGER $ZIPKIN"
[ "$(cat "$CACHE/bin/VERSION" 2>/dev/null || true)" = "$WANTED" ] && { echo "$CACHE/bin is up to date ($WANTED)"; exit 0; }
command -v go >/dev/null || { echo "Go is needed to build Jaeger: install it from https://go.dev/dl or your distribution" >&2; exit 1; }
command -v mvn >/dev/null || { echo "Maven is needed to fetch Zipkin: apt-get install maven" >&2; exit 1; }
mkdir -p "$CACHE/src" "$CACHE/bin"
cd "$CACHE/src"
cat > go.mod <<EOF
module collectors
go 1.24
require github.com/jaegertracing/jaeger $JAEGER
EOF
cat > tools.go <<'EOF'
//go:build tools
package collectors
import _ "github.com/jaegertracing/jaeger/cmd/all-in-one"
EOF
GOFLAGS=-mod=mod go mod tidy
echo "building jaeger"
nice -n 10 go build -mod=mod -ldflags="-s -w" -o "$CACHE/bin/jaeger" github.com/jaegertracing/jaeger/cmd/all-in-one
echo "fetching zipkin"
mvn -q -B dependency:copy -Dartifact="io.zipkin:zipkin-server:$ZIPKIN:jar:exec" -DoutputDirectory="$CACHE/bin" -Dmdep.stripVersion=true
mv "$CACHE/bin/zipkin-server-exec.jar" "$CACHE/bin/zipkin.jar"
echo "$WANTED" > "$CACHE/bin/VERSION"
