#!/bin/bash
# Stops what up.sh started in FOLDER, each by its own pid, and removes the folder.
W=$1
stop() { [ -f "$W/$1.pid" ] || return 0; local p; p=$(cat "$W/$1.pid"); kill "$p" 2>/dev/null
  for _ in $(seq 30); do kill -0 "$p" 2>/dev/null || return 0; sleep 0.1; done; kill -9 "$p" 2>/dev/null; }
stop apiserver; stop etcd
rm -rf "$W"
