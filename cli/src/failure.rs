//! What stops a command, and the exit code that says so.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// Exit codes that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The files, flags or objects given cannot be used.
    Configuration = 64,
    /// Something that is needed is not there (a port, a process, a server).
    Unavailable = 69,
    /// A fault of this program.
    Bug = 70,
}

/// Why a command ended without doing what it should, for people: what failed, why, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure without a deeper cause.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            source: None,
        }
    }

    /// Something needed is not there.
    pub(crate) fn unavailable(what: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, what)
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }

    /// The failure and its causes on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.what.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|error| error as &(dyn Error + 'static))
    }
}

/// Turns a library's error into a [`Failure`] that says what was tried.
pub(crate) trait Tried<T> {
    /// With the code for something that is not there.
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
    /// With another code.
    fn tried_as(self, code: Code, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Tried<T> for Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.tried_as(Code::Unavailable, what)
    }

    fn tried_as(self, code: Code, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            code,
            what: what(),
            source: Some(error.into()),
        })
    }
}
