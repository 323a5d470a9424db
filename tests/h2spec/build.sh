#!/bin/bash
# Builds h2spec, the judge of HTTP/2, pinned, from its Go module into a cache folder. Does nothing when it is there.
set -eu
H2SPEC=v2.2.1+incompatible
CACHE=${SIGHTLINE_H2SPEC:-$HOME/.cache/sightline/h2spec}
[ "$(cat "$CACHE/bin/VERSION" 2>/dev/null || true)" = "$H2SPEC" ] && { echo "$CACHE/bin is up to date ($H2SPEC)"; exit 0; }
command -v go >/dev/null || { echo "Go is needed to build h2spec: install it from https://go.dev/dl or your distribution" >&2; exit 1; }
mkdir -p "$CACHE/src" "$CACHE/bin"
cd "$CACHE/src"
cat > go.mod <<EOF
module judge
go 1.24
require github.com/summerwind/h2spec $H2SPEC
EOF
cat > tools.go <<'EOF'
//go:build tools
package judge
import _ "github.com/summerwind/h2spec/cmd/h2spec"
EOF
GOFLAGS=-mod=mod go mod tidy
echo "building h2spec"
nice -n 10 go build -mod=mod -ldflags="-s -w" -o "$CACHE/bin/h2spec" github.com/summerwind/h2spec/cmd/h2spec
echo "$H2SPEC" > "$CACHE/bin/VERSION"
