#!/bin/bash
# Starts etcd and kube-apiserver (no node, no controllers) in FOLDER on loopback ports, loads Istio's CRDs, and prints
# the kubeconfig's path. Usage: up.sh FOLDER ETCD_PORT ETCD_PEER_PORT API_PORT. The two pids are in FOLDER/*.pid.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
W=$1 ETCD=$2 PEER=$3 API=$4
B=${SIGHTLINE_CLUSTER:-$HOME/.cache/sightline/cluster}/bin
for f in etcd kube-apiserver istio-crds.yaml; do
  [ -e "$B/$f" ] || { echo "$B/$f is not there: run \`cargo xtask cluster\` (about 8 minutes of CPU, needs Go)" >&2; exit 69; }
done
command -v openssl >/dev/null || { echo "openssl is needed for the server's keys: install the package openssl" >&2; exit 69; }
mkdir -p "$W"; cd "$W"
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=kubernetes 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=kube-apiserver 2>/dev/null
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 30 \
  -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc") 2>/dev/null
openssl genrsa -out sa.key 2048 2>/dev/null
TOKEN=$(openssl rand -hex 24)
echo "$TOKEN,kubernetes-admin,,\"system:masters\"" > tokens.csv
cat > authentication.yaml <<C
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /healthz}, {path: /livez}, {path: /readyz}, {path: /version}]}
C
cat > kubeconfig <<C
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$API", certificate-authority: $W/ca.crt}}]
users: [{name: u, user: {token: "$TOKEN"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
C
printf %s "$TOKEN" > token
# Who starts this may be killed: then everything here ends, too.
nohup bash -c "while kill -0 $PPID 2>/dev/null && [ -d '$W' ]; do sleep 1; done; '$HERE/down.sh' '$W'" > /dev/null 2>&1 &
start() { n=$1; shift; nohup "$@" > "$n.log" 2>&1 & echo $! > "$n.pid"; }
start etcd "$B/etcd" --data-dir "$W/etcd" --listen-client-urls "http://127.0.0.1:$ETCD" --advertise-client-urls "http://127.0.0.1:$ETCD" \
  --listen-peer-urls "http://127.0.0.1:$PEER" --initial-advertise-peer-urls "http://127.0.0.1:$PEER" --initial-cluster "default=http://127.0.0.1:$PEER" --unsafe-no-fsync
start apiserver "$B/kube-apiserver" --etcd-servers="http://127.0.0.1:$ETCD" --secure-port="$API" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 \
  --endpoint-reconciler-type=none --tls-cert-file=server.crt --tls-private-key-file=server.key --token-auth-file=tokens.csv \
  --authentication-config=authentication.yaml --service-account-key-file=sa.key --service-account-signing-key-file=sa.key \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local --authorization-mode=RBAC --service-cluster-ip-range=10.96.0.0/16
ready() { curl -fs --cacert ca.crt -H "Authorization: Bearer $TOKEN" "https://127.0.0.1:$API$1" >/dev/null 2>&1; }
wait_for() { for _ in $(seq 240); do ready "$1" && return 0; kill -0 "$(cat apiserver.pid)" 2>/dev/null || break; sleep 0.25; done
  echo "kube-apiserver did not become ready at $1: see $W/apiserver.log" >&2; tail -5 apiserver.log >&2; exit 1; }
wait_for /readyz
# The CRDs are one YAML stream; the API takes them one by one.
awk -v d="$W" 'BEGIN{n=0; f=d "/crd0.yaml"} /^---/{n++; f=d "/crd" n ".yaml"; next} {print > f}' "$B/istio-crds.yaml"
for f in crd*.yaml; do
  grep -q '^kind: CustomResourceDefinition' "$f" || continue
  curl -fsS --cacert ca.crt -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/yaml' --data-binary "@$f" \
    "https://127.0.0.1:$API/apis/apiextensions.k8s.io/v1/customresourcedefinitions" >/dev/null
done
for g in networking.istio.io/v1/virtualservices networking.istio.io/v1/gateways networking.istio.io/v1beta1/proxyconfigs networking.istio.io/v1/destinationrules security.istio.io/v1/peerauthentications \
  security.istio.io/v1/authorizationpolicies security.istio.io/v1/requestauthentications telemetry.istio.io/v1/telemetries extensions.istio.io/v1alpha1/wasmplugins networking.istio.io/v1/serviceentries \
  networking.istio.io/v1/workloadentries networking.istio.io/v1/workloadgroups networking.istio.io/v1/sidecars networking.istio.io/v1alpha3/envoyfilters; do wait_for "/apis/$g"; done
echo "$W/kubeconfig"
