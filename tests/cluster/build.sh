#!/bin/bash
# Builds the judges of the conformance tests from Go modules, pinned, into a cache folder: etcd, kube-apiserver and
# kubectl; and fetches Istio's official CustomResourceDefinitions. Does nothing when they are there.
# k8s.io/kubernetes names its own libraries as v0.0.0, so each gets the matching published version by a replace line.
set -eu
KUBERNETES=v1.36.3
ISTIO_API=v1.31.4
CACHE=${SIGHTLINE_CLUSTER:-$HOME/.cache/sightline/cluster}
WANTED="$KUBERNETES $ISTIO_API"
[ "$(cat "$CACHE/bin/VERSION" 2>/dev/null || true)" = "$WANTED" ] && { echo "$CACHE/bin is up to date ($WANTED)"; exit 0; }
command -v go >/dev/null || { echo "Go is needed to build kube-apiserver: install it from https://go.dev/dl or your distribution" >&2; exit 1; }
mkdir -p "$CACHE/src" "$CACHE/bin"
cd "$CACHE/src"
module() { go mod download -json "$1" | sed -n "s/^\t\"$2\": \"\(.*\)\",*$/\1/p"; }
GOMOD=$(module "k8s.io/kubernetes@$KUBERNETES" GoMod)
LIBRARIES=v0.${KUBERNETES#v1.}
{
  echo "module cluster"
  grep -E '^go ' "$GOMOD"
  echo "require k8s.io/kubernetes $KUBERNETES"
  grep -oE '^\s+k8s.io/[a-z-]+ v0\.0\.0$' "$GOMOD" | sort -u | awk -v v="$LIBRARIES" '{print "replace " $1 " => " $1 " " v}'
} > go.mod
{
  echo '//go:build tools'
  echo 'package cluster'
  echo 'import ('
  echo '	_ "k8s.io/kubernetes/cmd/kube-apiserver"'
  echo '	_ "k8s.io/kubernetes/cmd/kubectl"'
  echo '	_ "go.etcd.io/etcd/server/v3"'
  echo ')'
} > tools.go
GOFLAGS=-mod=mod go mod tidy
build() { echo "building $1"; nice -n 10 go build -mod=mod -ldflags="-s -w" -o "$CACHE/bin/$1" "$2"; }
build kubectl k8s.io/kubernetes/cmd/kubectl
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build etcd go.etcd.io/etcd/server/v3
CRDS=$(module "istio.io/api@$ISTIO_API" Dir)/kubernetes/customresourcedefinitions.gen.yaml
install -m 644 "$CRDS" "$CACHE/bin/istio-crds.yaml"
echo "$WANTED" > "$CACHE/bin/VERSION"
