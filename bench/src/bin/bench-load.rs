//! bench-load: one-thread HTTP/1.1 load generator on epoll.
//! Closed loop (no --rate) or open loop (--rate R: requests fall due every 1/R s whatever the proxy does, and latency
//! counts from the due time, so a stall is not hidden). Prints one JSON line.
//!   --addr IP:PORT --host NAME --path P --header 'K: V' --conns N --rate R --secs S --warmup S
//!   --close (a new connection for each request)  --hs (connect + TLS handshake, then close; no request)
//!   --requests N (end after N answers)
//!   --tls --sni NAME --cert F --key F --resume   --idle (each connection does one request, then holds for S secs)
use hdrhistogram::Histogram;
use sightline_bench::options::{Options, options};
use sightline_bench::*;
use std::collections::VecDeque;
use std::io::{Read, Write};

#[derive(PartialEq, Clone, Copy)]
enum S {
    Free,
    Connecting,
    Tls,
    Ready,
    Waiting,
}

struct C {
    fd: i32,
    s: S,
    tls: Option<rustls::ClientConnection>,
    hb: Vec<u8>,
    need: usize,
    in_body: bool,
    eof_body: bool,
    start: u64,
    out_off: usize,
    want_close: bool,
}

struct Io(i32);
impl Read for Io {
    fn read(&mut self, b: &mut [u8]) -> std::io::Result<usize> {
        sightline_bench::read(self.0, b)
    }
}
impl Write for Io {
    fn write(&mut self, b: &[u8]) -> std::io::Result<usize> {
        sightline_bench::write(self.0, b)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct R {
    hist: Histogram<u64>,
    total: u64,
    ok: u64,
    bad: u64,
    err: u64,
    bytes: u64,
    conns: u64,
}

fn main() {
    let a = options();
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let ep = Epoll::open();
    let mut cs: Vec<C> = (0..a.conns)
        .map(|_| C {
            fd: -1,
            s: S::Free,
            tls: None,
            hb: vec![],
            need: 0,
            in_body: false,
            eof_body: false,
            start: 0,
            out_off: 0,
            want_close: false,
        })
        .collect();
    let mut r = R {
        hist: Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap(),
        total: 0,
        ok: 0,
        bad: 0,
        err: 0,
        bytes: 0,
        conns: 0,
    };
    let mut free: VecDeque<usize> = (0..a.conns).collect();
    let mut backlog: VecDeque<u64> = VecDeque::new();
    let t0 = now_ns();
    let (t_meas, t_end) = (
        t0 + (a.warmup * 1e9) as u64,
        t0 + ((a.warmup + a.secs) * 1e9) as u64,
    );
    let step = if a.rate > 0.0 { 1e9 / a.rate } else { 0.0 };
    let mut k_due: u64 = 0;
    let mut measuring = false;
    let mut evs = vec![libc::epoll_event { events: 0, u64: 0 }; 512];
    let mut buf = vec![0u8; 1 << 18];
    let mut done: Vec<usize> = vec![];
    let mut idle_done = 0usize;
    let mut idle_said = false;
    let mut opened = 0usize;
    loop {
        let mut now = now_ns();
        if !measuring && now >= t_meas && !a.idle {
            measuring = true;
            r.hist.reset();
            r.ok = 0;
            r.bad = 0;
            r.err = 0;
            r.bytes = 0;
            r.conns = 0;
            eprintln!("MEASURE");
        }
        // What was sent before the end is answered before the last line is printed, so that `total` can be
        // compared with what proxies and telemetry counted.
        if r.total >= a.requests && !a.idle {
            break;
        }
        if now >= t_end
            && (a.idle
                || a.hs
                || now >= t_end + 2_000_000_000
                || cs.iter().all(|c| matches!(c.s, S::Free | S::Ready)))
        {
            break;
        }
        let ending = now >= t_end;
        // start what is due
        if ending {
        } else if a.idle {
            while opened < a.conns && opened - idle_done < 64 {
                let i = opened;
                opened += 1;
                start(&a, &ep, &mut cs[i], i, now, &mut r);
            }
            if idle_done >= a.conns && !idle_said {
                idle_said = true;
                println!("READY {} err {}", idle_done, r.err);
            }
        } else if a.rate > 0.0 {
            loop {
                let due = t0 + (k_due as f64 * step) as u64;
                if due > now {
                    break;
                }
                k_due += 1;
                backlog.push_back(due);
            }
            while !backlog.is_empty() {
                let Some(i) = free.pop_front() else { break };
                let due = backlog.pop_front().unwrap();
                start(&a, &ep, &mut cs[i], i, due, &mut r);
                if cs[i].s == S::Free {
                    done.push(i)
                }
            }
        } else {
            while let Some(i) = free.pop_front() {
                start(&a, &ep, &mut cs[i], i, now, &mut r);
                if cs[i].s == S::Free {
                    done.push(i);
                }
            }
        }
        for i in done.drain(..) {
            free.push_back(i)
        }
        let next = if ending {
            now + 10_000_000
        } else if a.rate > 0.0 {
            t0 + (k_due as f64 * step) as u64
        } else {
            u64::MAX
        };
        let next = if ending { next } else { next.min(t_end) }.min(if measuring || a.idle {
            u64::MAX
        } else {
            t_meas
        });
        now = now_ns();
        let n = ep.wait(&mut evs, Some(next.saturating_sub(now)));
        let t = now_ns();
        for ev in &evs[..n] {
            let i = ev.u64 as usize;
            let c = &mut cs[i];
            if c.fd < 0 {
                continue;
            }
            match step_conn(&a, c, ev.events, &mut buf, &mut r) {
                Ok(false) => {}
                Ok(true) => {
                    let e = now_ns().max(t);
                    let _ = r.hist.record((e - c.start).max(1));
                    r.total += 1;
                    if !ending {
                        r.ok += 1
                    }
                    if a.close || a.hs || c.want_close {
                        kill(c)
                    } else {
                        c.s = S::Ready
                    }
                    if a.idle { idle_done += 1 } else { free.push_back(i) }
                }
                Err(_) => {
                    if std::env::var_os("BENCH_LOAD_DEBUG").is_some() {
                        let e = ev.events;
                        eprintln!("err ev {:x} state {}", e, c.s as u8)
                    }
                    r.err += 1;
                    kill(c);
                    if a.idle { idle_done += 1 } else { free.push_back(i) }
                }
            }
        }
    }
    let el = (now_ns().min(t_end) - if a.idle { t0 } else { t_meas }) as f64 / 1e9;
    let q = |p: f64| r.hist.value_at_quantile(p) as f64 / 1e3;
    println!(
        "{{\"total\":{},\"ok\":{},\"bad\":{},\"err\":{},\"secs\":{:.3},\"rps\":{:.1},\"mb_s\":{:.1},\"conns\":{},\"backlog\":{},\"p50_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\"max_us\":{:.1}}}",
        r.total,
        r.ok,
        r.bad,
        r.err,
        el,
        r.ok as f64 / el,
        r.bytes as f64 / el / 1e6,
        r.conns,
        backlog.len(),
        q(0.5),
        q(0.9),
        q(0.99),
        q(0.999),
        r.hist.max() as f64 / 1e3
    );
}

fn kill(c: &mut C) {
    if c.fd >= 0 {
        // an abortive close keeps local ports out of TIME_WAIT
        let lg = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        unsafe {
            libc::setsockopt(
                c.fd,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                &lg as *const _ as _,
                std::mem::size_of::<libc::linger>() as u32,
            );
            libc::close(c.fd)
        };
    }
    c.fd = -1;
    c.s = S::Free;
    c.tls = None;
    c.hb.clear();
    c.in_body = false;
    c.eof_body = false;
    c.need = 0;
    c.out_off = 0;
    c.want_close = false;
}

fn start(a: &Options, ep: &Epoll, c: &mut C, i: usize, t: u64, r: &mut R) {
    c.start = t;
    if c.s == S::Ready {
        c.s = S::Waiting;
        c.out_off = 0;
        if send_req(a, c).is_err() {
            r.err += 1;
            kill(c)
        }
        return;
    }
    let fd = unsafe {
        libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        )
    };
    if fd < 0 {
        r.err += 1;
        return;
    }
    nodelay(fd);
    let sa = sockaddr(&a.addr);
    let rc = unsafe { libc::connect(fd, &sa as *const _ as _, std::mem::size_of_val(&sa) as u32) };
    if rc < 0 && std::io::Error::last_os_error().raw_os_error() != Some(libc::EINPROGRESS) {
        r.err += 1;
        unsafe { libc::close(fd) };
        return;
    }
    c.fd = fd;
    c.s = S::Connecting;
    r.conns += 1;
    if let Some(cfg) = &a.tls {
        c.tls = Some(
            rustls::ClientConnection::new(
                cfg.clone(),
                rustls::pki_types::ServerName::try_from(a.sni.clone()).unwrap(),
            )
            .unwrap(),
        );
    }
    ep.ctl(
        libc::EPOLL_CTL_ADD,
        fd,
        (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET | libc::EPOLLRDHUP) as u32,
        i as u64,
    );
}

fn send_req(a: &Options, c: &mut C) -> std::io::Result<()> {
    let fd = c.fd;
    if let Some(t) = c.tls.as_mut() {
        if c.out_off == 0 {
            t.writer().write_all(&a.req)?;
            c.out_off = a.req.len();
        }
        while t.wants_write() {
            match t.write_tls(&mut Io(fd)) {
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        return Ok(());
    }
    while c.out_off < a.req.len() {
        match sightline_bench::write(c.fd, &a.req[c.out_off..]) {
            Ok(n) => c.out_off += n,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Ok(true): the request (or the handshake) is complete.
fn step_conn(a: &Options, c: &mut C, ev: u32, buf: &mut [u8], r: &mut R) -> std::io::Result<bool> {
    let bad = |m: &str| std::io::Error::other(m.to_string());
    if ev & libc::EPOLLERR as u32 != 0 {
        return Err(bad("sock"));
    }
    if c.s == S::Connecting {
        if ev & libc::EPOLLOUT as u32 == 0 {
            return Ok(false);
        }
        if c.tls.is_some() {
            c.s = S::Tls
        } else {
            c.s = S::Waiting;
            c.out_off = 0;
            send_req(a, c)?;
            return Ok(false);
        }
    }
    let fd = c.fd;
    if c.tls.is_some() {
        loop {
            let t = c.tls.as_mut().unwrap();
            let mut progressed = false;
            while t.wants_write() {
                match t.write_tls(&mut Io(fd)) {
                    Ok(_) => progressed = true,
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
            if c.s == S::Tls && !t.is_handshaking() && !t.wants_write() {
                if a.hs {
                    return Ok(true);
                }
                c.s = S::Waiting;
                c.out_off = 0;
                send_req(a, c)?;
                continue;
            }
            if t.wants_read() {
                match t.read_tls(&mut Io(fd)) {
                    Ok(0) => return Err(bad("eof")),
                    Ok(_) => {
                        progressed = true;
                        t.process_new_packets().map_err(|e| bad(&e.to_string()))?;
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
            let mut fin = false;
            loop {
                let t = c.tls.as_mut().unwrap();
                match t.reader().read(buf) {
                    Ok(0) => return Err(bad("eof")),
                    Ok(n) => {
                        progressed = true;
                        r.bytes += n as u64;
                        if consume(c, &buf[..n], r)? {
                            fin = true;
                            break;
                        }
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
            if fin {
                return Ok(true);
            }
            if !progressed {
                return Ok(false);
            }
        }
    }
    if c.out_off < a.req.len() {
        send_req(a, c)?;
    }
    loop {
        match sightline_bench::read(fd, buf) {
            Ok(0) => {
                if c.eof_body {
                    return Ok(true);
                }
                return Err(bad("eof"));
            }
            Ok(n) => {
                r.bytes += n as u64;
                if consume(c, &buf[..n], r)? {
                    return Ok(true);
                }
                if n < buf.len() && ev & libc::EPOLLRDHUP as u32 == 0 {
                    return Ok(false);
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}

fn consume(c: &mut C, d: &[u8], r: &mut R) -> std::io::Result<bool> {
    if c.s != S::Waiting {
        return Err(std::io::Error::other("unexpected data"));
    }
    let mut d = d;
    let tmp;
    if !c.in_body {
        if !c.hb.is_empty() {
            c.hb.extend_from_slice(d);
            tmp = std::mem::take(&mut c.hb);
            d = &tmp
        }
        let mut hs = [httparse::EMPTY_HEADER; 64];
        let mut p = httparse::Response::new(&mut hs);
        match p.parse(d) {
            Ok(httparse::Status::Complete(n)) => {
                if p.code != Some(200) {
                    r.bad += 1
                }
                let mut cl = None;
                let mut chunked = false;
                c.want_close = false;
                for h in p.headers.iter() {
                    if h.name.eq_ignore_ascii_case("content-length") {
                        cl = std::str::from_utf8(h.value)
                            .ok()
                            .and_then(|s| s.parse::<usize>().ok())
                    } else if h.name.eq_ignore_ascii_case("transfer-encoding") {
                        chunked = true
                    } else if h.name.eq_ignore_ascii_case("connection")
                        && h.value.eq_ignore_ascii_case(b"close")
                    {
                        c.want_close = true
                    }
                }
                c.in_body = true;
                c.need = match (cl, chunked) {
                    (Some(n), _) => n,
                    (None, true) => return Err(std::io::Error::other("chunked")),
                    _ => {
                        c.eof_body = true;
                        usize::MAX
                    }
                };
                d = &d[n..];
            }
            Ok(_) => {
                c.hb = d.to_vec();
                return Ok(false);
            }
            Err(_) => return Err(std::io::Error::other("parse")),
        }
    }
    c.need = c.need.saturating_sub(d.len());
    if c.need == 0 {
        c.in_body = false;
        c.hb.clear();
        return Ok(true);
    }
    Ok(false)
}
