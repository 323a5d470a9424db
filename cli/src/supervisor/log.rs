//! A child's output goes to a file that never grows beyond bounds.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Size at which a log file is put aside.
const LIMIT: u64 = 10 * 1024 * 1024;

/// Files kept: the one being written and two older ones.
const KEPT: u32 = 3;

/// A log file that is put aside at its limit: `NAME`, `NAME.1`, `NAME.2`.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    limit: u64,
    file: Option<File>,
    size: u64,
}

impl RotatingFile {
    /// Continues the file at `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self::with_limit(path, LIMIT)
    }

    fn with_limit(path: PathBuf, limit: u64) -> Self {
        Self {
            path,
            limit,
            file: None,
            size: 0,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.open()?;
        }
        if self.size > 0 && self.size + bytes.len() as u64 > self.limit {
            self.rotate()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
            self.size += bytes.len() as u64;
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for older in (1..KEPT).rev() {
            let from = if older == 1 {
                self.path.clone()
            } else {
                numbered(&self.path, older - 1)
            };
            match std::fs::rename(from, numbered(&self.path, older)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.open()
    }
}

impl Write for RotatingFile {
    /// A full disk loses log lines; it must not stop who writes them. The next write tries again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.append(bytes).is_err() {
            self.file = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Copies the child's output to its log until the child and all that it started have closed it.
pub(super) fn pump(reader: PipeReader, path: PathBuf) -> io::Result<()> {
    let mut reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut log = RotatingFile::new(path);
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            // Never fails: see `RotatingFile::write`.
            let _ = log.write(buffer.get(..count).unwrap_or_default());
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn three_files_at_most_and_the_newest_is_unnumbered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = RotatingFile::with_limit(path.clone(), 10);
        for line in ["111111\n", "222222\n", "333333\n", "444444\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "444444\n");
        assert_eq!(read(&numbered(&path, 1)), "333333\n");
        assert_eq!(read(&numbered(&path, 2)), "222222\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_second_start_continues_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        RotatingFile::new(path.clone()).write_all(b"one\n").unwrap();
        RotatingFile::new(path.clone()).write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
