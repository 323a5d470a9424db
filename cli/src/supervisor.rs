//! Starts processes, restarts those that die, and stops them in order.
//!
//! One owner of all process state: [`Supervisor::run`]. Others send it commands through a [`Handle`] and read
//! its states from a watch channel. It must run on the main thread: the kernel ties a child's life to the thread
//! that started it.

mod log;
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitStatus;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

pub(crate) use self::log::RotatingFile;
pub(crate) use self::process::{Kind, Phase, Spec, Stage, State};
use self::process::{Process, Running};
use crate::failure::{Code, Failure, Tried};

/// Commands that may wait; only the demo's own steps send any.
const COMMANDS: usize = 32;

type Event = Pin<Box<dyn Future<Output = Happened> + Send>>;

/// What the supervisor waits for.
enum Happened {
    Exited {
        name: String,
        status: std::io::Result<ExitStatus>,
    },
    Due {
        name: String,
    },
}

enum Command {
    Start {
        spec: Box<Spec>,
        done: oneshot::Sender<Result<(), Failure>>,
    },
    Stop {
        stage: Stage,
        patience: Duration,
        done: oneshot::Sender<()>,
    },
    Signal {
        name: String,
        signal: Signal,
    },
}

/// Stops under way.
struct Stopping {
    stage: Stage,
    deadline: Instant,
    done: oneshot::Sender<()>,
}

/// Sends commands to the supervisor.
#[derive(Clone)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Command>,
    states: watch::Receiver<Vec<State>>,
}

impl Handle {
    /// Starts a process and keeps it running.
    pub(crate) async fn start(&self, spec: Spec) -> Result<(), Failure> {
        let (done, started) = oneshot::channel();
        self.send(Command::Start {
            spec: Box::new(spec),
            done,
        })
        .await?;
        started
            .await
            .tried_as(Code::Bug, || "the supervisor ended".to_owned())?
    }

    /// Stops every process of a stage: SIGTERM, and SIGKILL when `patience` is over.
    pub(crate) async fn stop(&self, stage: Stage, patience: Duration) -> Result<(), Failure> {
        let (done, stopped) = oneshot::channel();
        self.send(Command::Stop {
            stage,
            patience,
            done,
        })
        .await?;
        stopped
            .await
            .tried_as(Code::Bug, || "the supervisor ended".to_owned())
    }

    /// Passes a signal on to one process and its group.
    pub(crate) async fn signal(&self, name: &str, signal: Signal) -> Result<(), Failure> {
        let name = name.to_owned();
        self.send(Command::Signal { name, signal }).await
    }

    /// The states of all processes, as they change.
    pub(crate) fn states(&self) -> watch::Receiver<Vec<State>> {
        self.states.clone()
    }

    async fn send(&self, command: Command) -> Result<(), Failure> {
        self.commands
            .send(command)
            .await
            .tried_as(Code::Bug, || "the supervisor ended".to_owned())
    }
}

/// Owns the processes.
pub(crate) struct Supervisor {
    logs: PathBuf,
    launcher: PathBuf,
    commands: mpsc::Receiver<Command>,
    states: watch::Sender<Vec<State>>,
    processes: BTreeMap<String, Process>,
    events: FuturesUnordered<Event>,
    stopping: Vec<Stopping>,
}

impl Supervisor {
    /// A supervisor that logs to a folder; `launcher` is this program.
    pub(crate) fn new(logs: PathBuf, launcher: PathBuf) -> (Self, Handle) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (states, watcher) = watch::channel(Vec::new());
        let supervisor = Self {
            logs,
            launcher,
            commands: receiver,
            states,
            processes: BTreeMap::new(),
            events: FuturesUnordered::new(),
            stopping: Vec::new(),
        };
        (
            supervisor,
            Handle {
                commands,
                states: watcher,
            },
        )
    }

    /// Works until every handle is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let deadline = self.stopping.iter().map(|stop| stop.deadline).min();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some(happened) = self.events.next() => self.handle(happened),
                () = at(deadline) => self.lose_patience(),
            }
            self.finish_stops();
            self.publish();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start { spec, done } => {
                let name = spec.name.clone();
                let mut process = Process::new(*spec);
                let started = self.spawn(&mut process);
                if started.is_ok() {
                    self.processes.insert(name, process);
                }
                // Whoever asked finds the process among the states.
                self.publish();
                // The asker may have gone; the process runs all the same.
                let _ = done.send(started);
            }
            Command::Stop {
                stage,
                patience,
                done,
            } => {
                for process in self
                    .processes
                    .values_mut()
                    .filter(|process| process.spec.stage == stage)
                {
                    process.stop();
                }
                self.stopping.push(Stopping {
                    stage,
                    deadline: Instant::now() + patience,
                    done,
                });
            }
            Command::Signal { name, signal } => {
                if let Some(process) = self.processes.get(&name) {
                    process.pass_on(signal);
                }
            }
        }
    }

    fn handle(&mut self, happened: Happened) {
        match happened {
            Happened::Exited { name, status } => self.exited(&name, status),
            Happened::Due { name } => self.restart(&name),
        }
    }

    fn exited(&mut self, name: &str, status: std::io::Result<ExitStatus>) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if process.spec.kind == Kind::Command {
            process.exit = status.as_ref().ok().copied().map(process::exit_code);
        }
        let status = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let Some(pause) = process.exited() else { return };
        tracing::warn!(
            process = name,
            status,
            pause_ms = pause.as_millis(),
            "process ended, will be restarted"
        );
        self.due_in(name, pause);
    }

    fn restart(&mut self, name: &str) {
        let Some(mut process) = self.processes.remove(name) else {
            return;
        };
        if process.may_restart() {
            process.restarts += 1;
            if let Err(failure) = self.spawn(&mut process) {
                tracing::error!(process = name, "{}", failure.chain());
                if let Some(pause) = process.exited() {
                    self.due_in(name, pause);
                }
            }
        }
        self.processes.insert(name.to_owned(), process);
    }

    fn due_in(&mut self, name: &str, pause: Duration) {
        let name = name.to_owned();
        self.events.push(Box::pin(async move {
            tokio::time::sleep(pause).await;
            Happened::Due { name }
        }));
    }

    fn spawn(&mut self, process: &mut Process) -> Result<(), Failure> {
        let log = self.logs.join(format!("{}.log", process.spec.name));
        let mut child = process::spawn(&process.spec, &self.launcher, log)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        process.running = pid.map(Running::since_now);
        let name = process.spec.name.clone();
        self.events.push(Box::pin(async move {
            let status = child.wait().await;
            Happened::Exited { name, status }
        }));
        Ok(())
    }

    fn lose_patience(&mut self) {
        let now = Instant::now();
        for stop in &mut self.stopping {
            if stop.deadline > now {
                continue;
            }
            for process in self
                .processes
                .values()
                .filter(|process| process.spec.stage == stop.stage)
            {
                if process.running.is_some() {
                    tracing::warn!(process = process.spec.name, "did not end in time, killed");
                }
                process.kill();
            }
            // A killed process ends at once; this only bounds the wait for the kernel's word.
            stop.deadline = now + Duration::from_millis(100);
        }
    }

    fn finish_stops(&mut self) {
        let processes = &self.processes;
        let (open, finished) = std::mem::take(&mut self.stopping).into_iter().partition(|stop| {
            processes
                .values()
                .any(|process| process.spec.stage == stop.stage && process.running.is_some())
        });
        self.stopping = open;
        let finished: Vec<Stopping> = finished;
        for stop in finished {
            // The asker may have gone.
            let _ = stop.done.send(());
        }
    }

    fn publish(&self) {
        let logs = &self.logs;
        self.states.send_if_modified(|states| {
            let now: Vec<State> = self
                .processes
                .values()
                .map(|process| process.state(logs))
                .collect();
            let changed = *states != now;
            *states = now;
            changed
        });
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
