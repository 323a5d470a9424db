//! The data folder: where everything is, and the lock that keeps a second supervisor out.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::failure::{Code, Failure, Tried};

/// Paths inside a data folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if need be. The path becomes absolute, since children may run elsewhere.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let what = || {
            format!(
                "cannot use the data folder {}; --data chooses another",
                path.display()
            )
        };
        let path = std::path::absolute(path).tried_as(Code::Configuration, what)?;
        make(&path).tried_as(Code::Configuration, what)?;
        let folder = Self(path.clone());
        for inside in [
            folder.logs(),
            folder.workloads(),
            folder.runs(),
            folder.controlplane(),
        ] {
            make(&inside).tried_as(Code::Configuration, what)?;
        }
        Ok(folder)
    }

    /// The folder of a running mesh: the one named, or the one that runs of those that nobody need name.
    pub(crate) fn running(named: Option<&Path>) -> Result<Self, Failure> {
        let candidates = match named {
            Some(path) => vec![path.to_path_buf()],
            None => vec![Self::default_path("mesh"), Self::default_path("demo")],
        };
        let none = candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>();
        candidates
            .into_iter()
            .map(|path| Self(std::path::absolute(&path).unwrap_or(path)))
            .find(Self::is_locked)
            .ok_or_else(|| {
                Failure::unavailable(format!(
                    "no mesh runs with the data folder {}; start one with `sightline up` or `sightline demo`, or name its folder with --data",
                    none.join(" or ")
                ))
            })
    }

    /// A folder that need not be there.
    pub(crate) fn at(path: &Path) -> Self {
        Self(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()))
    }

    /// Where it is when nobody says: in the user's data directory.
    pub(crate) fn default_path(name: &str) -> PathBuf {
        let base = std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")))
            .unwrap_or_else(std::env::temp_dir);
        base.join("sightline").join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
    pub(crate) fn workloads(&self) -> PathBuf {
        self.0.join("workloads")
    }
    pub(crate) fn controlplane(&self) -> PathBuf {
        self.0.join("controlplane")
    }
    pub(crate) fn root_certificate(&self) -> PathBuf {
        self.0.join("root-cert.pem")
    }
    pub(crate) fn console_token(&self) -> PathBuf {
        self.0.join("console-token")
    }
    pub(crate) fn admin_token(&self) -> PathBuf {
        self.0.join("token")
    }
    pub(crate) fn status(&self) -> PathBuf {
        self.0.join("status.json")
    }
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }
    /// One file for each `sightline run` and `sightline gateway`.
    pub(crate) fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }
    pub(crate) fn final_counts(&self) -> PathBuf {
        self.0.join("loadgen-final.json")
    }
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.0.join("supervisor.lock")
    }

    /// Takes the folder for this process; the lock ends with it.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        let path = self.lock_file();
        let what = || format!("cannot lock {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .tried(what)?;
        let mut owner = String::new();
        file.read_to_string(&mut owner).tried(what)?;
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
            Failure::unavailable(format!(
                "the data folder {} is in use by another sightline (process {}): stop it, or choose another folder with --data",
                self.0.display(),
                owner.trim()
            ))
        })?;
        lock.set_len(0).tried(what)?;
        std::io::Seek::rewind(&mut *lock).tried(what)?;
        writeln!(lock, "{}", std::process::id()).tried(what)?;
        Ok(Lock { _file: lock })
    }

    /// Whether a supervisor has the folder now.
    pub(crate) fn is_locked(&self) -> bool {
        File::open(self.lock_file())
            .is_ok_and(|file| Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
    }
}

/// Holds the data folder.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

/// Makes a folder that only its owner can read.
pub(crate) fn make(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file at once, readable by its owner only, so that a reader never sees half of it.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    std::fs::rename(&new, path)
}

/// A memory-backed folder for keys that live as long as their workloads.
pub(crate) fn memory_backed(data: &Folder) -> PathBuf {
    use std::hash::{Hash, Hasher};
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_dir());
    let shared = PathBuf::from("/dev/shm");
    let base = match runtime {
        Some(runtime) => runtime,
        None if shared.is_dir() => shared,
        None => return data.path().join("identities"),
    };
    let mut hasher = std::hash::DefaultHasher::new();
    data.path().hash(&mut hasher);
    base.join(format!(
        "sightline-{}-{:016x}",
        nix::unistd::getuid(),
        hasher.finish()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert!(!folder.is_locked());
        let lock = folder.lock().unwrap();
        assert!(folder.is_locked());
        let refused = folder.lock().unwrap_err().chain();
        assert!(
            refused.contains("--data") && refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(lock);
        folder.lock().unwrap();
    }

    #[test]
    fn private_files_are_replaced_whole() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        write_private(&file, "one").unwrap();
        write_private(&file, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
