//! Configurations of nginx and HAProxy for the plain shape: keep-alive both ways, a request id, no access log.

use std::path::Path;

/// One worker, no daemon.
pub(super) fn nginx(port: u16, backend: &str, work: &Path) -> String {
    let work = work.display();
    format!(
        r#"worker_processes 1;
daemon off;
master_process off;
pid {work}/nginx-{port}.pid;
error_log {work}/nginx-{port}.err warn;
worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  client_body_temp_path {work}/nginx-body;
  proxy_temp_path {work}/nginx-proxy;
  fastcgi_temp_path {work}/nginx-fastcgi;
  uwsgi_temp_path {work}/nginx-uwsgi;
  scgi_temp_path {work}/nginx-scgi;
  upstream b {{ server {backend}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096 reuseport;
    location / {{
      proxy_pass http://b;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Request-Id $request_id;
    }}
  }}
}}
"#
    )
}

/// One thread.
pub(super) fn haproxy(port: u16, backend: &str) -> String {
    format!(
        r"global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 2s
  timeout client 300s
  timeout server 30s
  timeout http-keep-alive 300s
  option forwardfor
  http-reuse always
  unique-id-format %{{+X}}o\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
  unique-id-header X-Request-Id
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s {backend} pool-max-conn 512
"
    )
}
