//! Thin epoll layer shared by the backend and the load generator.
pub mod options;

use std::io;
use std::os::fd::RawFd;

pub fn now_ns() -> u64 {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

pub fn cvt(r: i64) -> io::Result<i64> {
    if r < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(r)
    }
}

pub struct Epoll(pub RawFd);

impl Epoll {
    pub fn open() -> Self {
        Epoll(cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) } as i64).unwrap() as RawFd)
    }
    pub fn ctl(&self, op: i32, fd: RawFd, events: u32, data: u64) {
        let mut ev = libc::epoll_event { events, u64: data };
        unsafe { libc::epoll_ctl(self.0, op, fd, &mut ev) };
    }
    /// Waits with nanosecond precision; `None` waits for ever.
    pub fn wait(&self, evs: &mut [libc::epoll_event], timeout_ns: Option<u64>) -> usize {
        let ts = timeout_ns.map(|n| libc::timespec {
            tv_sec: (n / 1_000_000_000) as i64,
            tv_nsec: (n % 1_000_000_000) as i64,
        });
        let p = ts.as_ref().map_or(std::ptr::null(), |t| t as *const _);
        let n = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.0,
                evs.as_mut_ptr(),
                evs.len() as i32,
                p,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if n < 0 { 0 } else { n as usize }
    }
}

pub fn sockaddr(addr: &std::net::SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: addr.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(addr.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

pub fn nodelay(fd: RawFd) {
    let one: i32 = 1;
    unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &one as *const _ as _, 4) };
}

pub fn read(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    cvt(unsafe { libc::read(fd, buf.as_mut_ptr() as _, buf.len()) } as i64).map(|n| n as usize)
}

pub fn write(fd: RawFd, buf: &[u8]) -> io::Result<usize> {
    cvt(unsafe { libc::send(fd, buf.as_ptr() as _, buf.len(), libc::MSG_NOSIGNAL) } as i64)
        .map(|n| n as usize)
}
