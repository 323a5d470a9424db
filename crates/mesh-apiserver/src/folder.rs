//! The data folder: its lock, format version, certificate authority, admin token and kubeconfig.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use nix::fcntl::{Flock, FlockArg};

use crate::Error;

/// The format that this version writes.
const FORMAT: u32 = 1;

/// An opened, locked data folder.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Folder {
    /// Locks the folder, making it when absent. A newer format is refused before anything is touched.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Folder {
            path: path.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let version = path.join("format");
        if let Ok(text) = fs::read_to_string(&version) {
            let found = text.trim().parse().unwrap_or(u32::MAX);
            if found > FORMAT {
                return Err(Error::Newer {
                    path: path.to_owned(),
                    found: text.trim().to_owned(),
                    known: FORMAT,
                });
            }
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|_| Error::InUse {
            path: path.to_owned(),
        })?;
        let folder = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        folder.write("format", FORMAT.to_string().as_bytes())?;
        Ok(folder)
    }

    /// A file of the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The bytes of a file, if it is there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match fs::read(self.file(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Folder {
                path: self.file(name),
                source,
            }),
        }
    }

    /// Writes a file whole or not at all, readable by its owner only.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.file(name);
        let failed = |source| Error::Folder {
            path: path.clone(),
            source,
        };
        let fresh = self.file(&format!("{name}.new"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .map_err(failed)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        fs::rename(&fresh, &path).map_err(failed)
    }

    /// Makes an empty file that only its owner reads, if there is none; what SQLite puts beside it has its mode.
    pub(crate) fn touch(&self, name: &str) -> Result<(), Error> {
        let path = self.file(name);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map(drop)
            .map_err(|source| Error::Folder { path, source })
    }

    /// The admin token: made once, then kept.
    pub(crate) fn admin_token(&self) -> Result<String, Error> {
        if let Some(bytes) = self.read("token")? {
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            if !text.is_empty() {
                return Ok(text);
            }
        }
        let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        self.write("token", token.as_bytes())?;
        Ok(token)
    }

    /// Writes the kubeconfig for the address in use.
    pub(crate) fn write_kubeconfig(
        &self,
        address: SocketAddr,
        ca_pem: &str,
        token: &str,
    ) -> Result<PathBuf, Error> {
        let ca = base64::engine::general_purpose::STANDARD.encode(ca_pem);
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: sightline\n  cluster:\n    server: https://{address}\n    certificate-authority-data: {ca}\nusers:\n- name: admin\n  user:\n    token: {token}\ncontexts:\n- name: sightline\n  context:\n    cluster: sightline\n    user: admin\n    namespace: default\ncurrent-context: sightline\n"
        );
        self.write("kubeconfig", text.as_bytes())?;
        Ok(self.file("kubeconfig"))
    }
}
