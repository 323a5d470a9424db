//! bench-backend ADDR [BODY_BYTES]: one-thread epoll HTTP/1.1 backend. Any path answers BODY_BYTES (default 1024);
//! `/size/N` answers N bytes; `/id` answers the listening port. Request bodies with Content-Length are drained.
use sightline_bench::*;
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, IntoRawFd};

struct C {
    inb: Vec<u8>,
    out: Vec<u8>,
    off: usize,
    drain: usize,
    close: bool,
}

fn head(n: usize, close: bool) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nserver: bench-backend\r\ncontent-type: text/plain\r\n{}content-length: {}\r\n\r\n",
        if close { "connection: close\r\n" } else { "" },
        n
    )
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let addr: SocketAddrV4 = a[1].parse().expect("ADDR");
    let size: usize = a.get(2).map_or(1024, |s| s.parse().unwrap());
    let l = TcpListener::bind(addr).unwrap();
    unsafe { libc::listen(l.as_raw_fd(), 4096) };
    l.set_nonblocking(true).unwrap();
    let std_resp = [head(size, false).into_bytes(), vec![b'x'; size]].concat();
    let ep = Epoll::open();
    ep.ctl(libc::EPOLL_CTL_ADD, l.as_raw_fd(), libc::EPOLLIN as u32, u64::MAX);
    let mut conns: Vec<Option<C>> = Vec::new();
    let mut evs = vec![libc::epoll_event { events: 0, u64: 0 }; 512];
    let mut buf = vec![0u8; 65536];
    loop {
        let n = ep.wait(&mut evs, None);
        for ev in &evs[..n] {
            let id = ev.u64;
            if id == u64::MAX {
                while let Ok((s, _)) = l.accept() {
                    s.set_nonblocking(true).ok();
                    let fd = s.into_raw_fd();
                    nodelay(fd);
                    if conns.len() <= fd as usize {
                        conns.resize_with(fd as usize + 1, || None)
                    }
                    conns[fd as usize] = Some(C {
                        inb: vec![],
                        out: vec![],
                        off: 0,
                        drain: 0,
                        close: false,
                    });
                    ep.ctl(
                        libc::EPOLL_CTL_ADD,
                        fd,
                        (libc::EPOLLIN | libc::EPOLLRDHUP) as u32,
                        fd as u64,
                    );
                }
                continue;
            }
            let fd = id as i32;
            let Some(c) = conns[fd as usize].as_mut() else {
                continue;
            };
            let mut dead = false;
            if ev.events & libc::EPOLLIN as u32 != 0 {
                match read(fd, &mut buf) {
                    Ok(0) => dead = true,
                    Ok(n) => {
                        let mut d = &buf[..n];
                        let k = c.drain.min(d.len());
                        c.drain -= k;
                        d = &d[k..];
                        if c.inb.is_empty() {
                            let used = requests(d, c, &std_resp, addr.port());
                            if used < d.len() {
                                c.inb.extend_from_slice(&d[used..])
                            }
                        } else {
                            c.inb.extend_from_slice(d);
                            let b = std::mem::take(&mut c.inb);
                            let used = requests(&b, c, &std_resp, addr.port());
                            c.inb.extend_from_slice(&b[used..]);
                        }
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => dead = true,
                }
            }
            if !dead && c.off < c.out.len() {
                while c.off < c.out.len() {
                    match write(fd, &c.out[c.off..]) {
                        Ok(n) => c.off += n,
                        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                        Err(_) => {
                            dead = true;
                            break;
                        }
                    }
                }
                if c.off == c.out.len() {
                    if c.out.capacity() > 65536 {
                        c.out = Vec::new()
                    } else {
                        c.out.clear()
                    }
                    c.off = 0;
                    ep.ctl(
                        libc::EPOLL_CTL_MOD,
                        fd,
                        (libc::EPOLLIN | libc::EPOLLRDHUP) as u32,
                        fd as u64,
                    );
                    if c.close {
                        dead = true
                    }
                } else {
                    ep.ctl(
                        libc::EPOLL_CTL_MOD,
                        fd,
                        (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP) as u32,
                        fd as u64,
                    );
                }
            }
            if dead || (ev.events & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0) {
                conns[fd as usize] = None;
                unsafe { libc::close(fd) };
            }
        }
    }
}

fn requests(d: &[u8], c: &mut C, std_resp: &[u8], port: u16) -> usize {
    let mut used = 0;
    while let Some(e) = memchr::memmem::find(&d[used..], b"\r\n\r\n") {
        let h = &d[used..used + e + 4];
        used += e + 4;
        let mut hs = [httparse::EMPTY_HEADER; 96];
        let mut r = httparse::Request::new(&mut hs);
        if r.parse(h).is_err() {
            c.close = true;
            return d.len();
        }
        let mut cl = 0usize;
        for x in r.headers.iter() {
            if x.name.eq_ignore_ascii_case("content-length") {
                cl = std::str::from_utf8(x.value).unwrap_or("0").parse().unwrap_or(0)
            }
            if x.name.eq_ignore_ascii_case("connection") && x.value.eq_ignore_ascii_case(b"close") {
                c.close = true
            }
        }
        let k = cl.min(d.len() - used);
        used += k;
        c.drain = cl - k;
        let p = r.path.unwrap_or("/");
        if let Some(n) = p.strip_prefix("/size/").and_then(|s| s.parse::<usize>().ok()) {
            c.out.extend_from_slice(head(n, c.close).as_bytes());
            c.out.resize(c.out.len() + n, b'y');
        } else if p == "/id" {
            let s = port.to_string();
            c.out.extend_from_slice(head(s.len(), c.close).as_bytes());
            c.out.extend_from_slice(s.as_bytes());
        } else if c.close {
            c.out.extend_from_slice(head(std_resp.len(), true).as_bytes());
            c.out.extend_from_slice(std_resp);
        } else {
            c.out.extend_from_slice(std_resp);
        }
    }
    used
}
