//! Listening, TLS, limits per connection, and the orderly end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::folder::Folder;
use crate::object::meta;
use crate::registry::{Core, of};
use crate::store::{Key, Store};
use crate::{App, Config, Error, bootstrap, pki, token};

/// How long a client has for the TLS handshake and for a request's head.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Requests at once on one HTTP/2 connection: a control plane's watches share one.
const STREAMS: u32 = 250;
/// How long open requests have at the end.
const GRACE: Duration = Duration::from_secs(2);
/// How long events are kept.
const EVENTS_KEPT: Duration = Duration::from_secs(3600);
/// Between compactions.
const COMPACTION: Duration = Duration::from_secs(60);

/// A running API server.
pub struct Server {
    address: SocketAddr,
    kubeconfig: PathBuf,
    app: Arc<App>,
    tasks: Vec<JoinHandle<()>>,
    // Last: the lock is let go when everything else is.
    _folder: Folder,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the data folder, listens, and writes the kubeconfig.
    ///
    /// # Errors
    ///
    /// When the folder is in use, of a newer version or damaged, or the address is taken.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let folder = Folder::open(&config.data_dir)?;
        let pki = pki::load(&folder, config.listen)?;
        let signer = token::Signer::load(&folder)?;
        let admin_token = folder.admin_token()?;
        folder.touch("objects.db")?;
        let store = Store::open(&folder.file("objects.db")).await?;
        bootstrap::run(&store)
            .await
            .map_err(|refusal| Error::Authority(refusal.message))?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| Error::Listen {
                address: config.listen,
                source,
            })?;
        let address = listener.local_addr().map_err(|source| Error::Listen {
            address: config.listen,
            source,
        })?;
        let kubeconfig = folder.write_kubeconfig(address, &pki.ca_pem, &admin_token)?;
        let mut hosts: Vec<String> = pki::NAMES.iter().map(|n| (*n).to_owned()).collect();
        hosts.extend([
            address.ip().to_string(),
            "127.0.0.1".into(),
            "[::1]".into(),
            format!("[{}]", address.ip()),
        ]);
        hosts.extend(config.hosts.iter().cloned());
        let app = Arc::new(App {
            store,
            signer,
            admin_token,
            authorizer: crate::authorize::Authorizer::default(),
            admission: config.admission,
            hosts,
            stop: CancellationToken::new(),
        });
        let accepting = Accepting {
            listener,
            tls: TlsAcceptor::from(pki.tls),
            app: Arc::clone(&app),
            room: Arc::new(Semaphore::new(config.connections)),
        };
        let tasks = vec![
            tokio::spawn(accepting.run()),
            tokio::spawn(compact(
                Arc::clone(&app),
                config.history,
                config.history_revisions,
            )),
        ];
        tracing::info!(%address, "API server ready");
        Ok(Self {
            address,
            kubeconfig,
            app,
            tasks,
            _folder: folder,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kubeconfig of its administrator (mode 0600).
    #[must_use]
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The administrator's bearer token.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.app.admin_token
    }

    /// Ends watches, lets open requests finish within 2 s, and closes the database.
    pub async fn shutdown(self) {
        self.app.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
        self.app.store.close().await;
    }
}

struct Accepting {
    listener: TcpListener,
    tls: TlsAcceptor,
    app: Arc<App>,
    room: Arc<Semaphore>,
}

impl Accepting {
    async fn run(self) {
        let graceful = GracefulShutdown::new();
        loop {
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                break;
            };
            let accepted = tokio::select! {
                () = self.app.stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, mostly: others must end before the next can begin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let watcher = graceful.watcher();
            let (app, tls) = (Arc::clone(&self.app), self.tls.clone());
            tokio::spawn(async move {
                serve(app, tls, stream, watcher).await;
                drop(permit);
            });
        }
        drop(self.listener);
        let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    }
}

async fn serve(
    app: Arc<App>,
    tls: TlsAcceptor,
    stream: TcpStream,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, std::convert::Infallible>(crate::handle::handle(app, request).await) }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(64 * 1024)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "connection ended");
    }
}

/// Events go after an hour, as on a cluster.
async fn forget_events(app: &App) -> Result<(), crate::StoreError> {
    let resource = of(Core::Event).storage;
    let oldest = jiff::Timestamp::now() - EVENTS_KEPT;
    let mut tx = app.store.begin().await?;
    for event in tx.list(resource, None).await? {
        let made = meta(&event, "creationTimestamp").parse::<jiff::Timestamp>();
        if made.is_ok_and(|made| made < oldest) {
            let key = Key {
                resource,
                namespace: meta(&event, "namespace").to_owned(),
                name: meta(&event, "name").to_owned(),
            };
            tx.remove(&key, event).await?;
        }
    }
    tx.commit().await
}

async fn compact(app: Arc<App>, history: Duration, revisions: i64) {
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(COMPACTION) => {}
        }
        let age = i64::try_from(history.as_millis()).unwrap_or(i64::MAX);
        let before = jiff::Timestamp::now().as_millisecond().saturating_sub(age);
        let result = async {
            let point = app.store.compaction_point(before, revisions).await?;
            app.store.compact(point).await
        };
        if let Err(error) = result.await {
            tracing::warn!(%error, "compaction failed; tried again in a minute");
        }
        if let Err(error) = app.store.forget_owners().await {
            tracing::warn!(%error, "owners could not be read again; tried again in a minute");
        }
        if let Err(error) = app.store.forget_writes().await {
            tracing::warn!(%error, "old rows of who wrote what could not be removed; tried again in a minute");
        }
        if let Err(error) = forget_events(&app).await {
            tracing::warn!(%error, "old events could not be removed; tried again in a minute");
        }
    }
}
