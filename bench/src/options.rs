//! Command line of bench-load.
use std::net::SocketAddrV4;
use std::sync::Arc;

#[derive(Debug)]
struct NoVerify(Arc<rustls::crypto::CryptoProvider>);
impl rustls::client::danger::ServerCertVerifier for NoVerify {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What the command line asks for.
pub struct Options {
    pub addr: SocketAddrV4,
    pub conns: usize,
    pub rate: f64,
    pub secs: f64,
    pub warmup: f64,
    pub close: bool,
    pub hs: bool,
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub sni: String,
    pub req: Vec<u8>,
    pub idle: bool,
    /// Ends after this many answers, whatever the time.
    pub requests: u64,
}

/// Reads the command line; an unknown option panics.
pub fn options() -> Options {
    let mut a = Options {
        addr: "127.0.0.1:80".parse().unwrap(),
        conns: 32,
        rate: 0.0,
        secs: 5.0,
        warmup: 1.0,
        close: false,
        hs: false,
        tls: None,
        sni: "localhost".into(),
        req: vec![],
        idle: false,
        requests: u64::MAX,
    };
    let (mut host, mut path, mut hdrs, mut tls, mut cert, mut key, mut resume) = (
        String::from("localhost"),
        String::from("/"),
        String::new(),
        false,
        None,
        None,
        false,
    );
    let mut it = std::env::args().skip(1);
    while let Some(k) = it.next() {
        let mut v = || it.next().expect("value");
        match k.as_str() {
            "--addr" => a.addr = v().parse().unwrap(),
            "--host" => host = v(),
            "--path" => path = v(),
            "--header" => {
                hdrs.push_str(&v());
                hdrs.push_str("\r\n")
            }
            "--conns" => a.conns = v().parse().unwrap(),
            "--rate" => a.rate = v().parse().unwrap(),
            "--secs" => a.secs = v().parse().unwrap(),
            "--warmup" => a.warmup = v().parse().unwrap(),
            "--close" => a.close = true,
            "--hs" => {
                a.hs = true;
                tls = true
            }
            "--tls" => tls = true,
            "--sni" => a.sni = v(),
            "--cert" => cert = Some(v()),
            "--key" => key = Some(v()),
            "--resume" => resume = true,
            "--idle" => a.idle = true,
            "--requests" => a.requests = v().parse().unwrap(),
            x => panic!("unknown option {x}"),
        }
    }
    if tls {
        use rustls::pki_types::pem::PemObject;
        let p = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let b = rustls::ClientConfig::builder_with_provider(p.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(NoVerify(p)));
        let mut c = match (cert, key) {
            (Some(c), Some(k)) => b
                .with_client_auth_cert(
                    rustls::pki_types::CertificateDer::pem_file_iter(c)
                        .unwrap()
                        .map(|c| c.unwrap())
                        .collect(),
                    rustls::pki_types::PrivateKeyDer::from_pem_file(k).unwrap(),
                )
                .unwrap(),
            _ => b.with_no_client_auth(),
        };
        if !resume {
            c.resumption = rustls::client::Resumption::disabled()
        }
        a.tls = Some(Arc::new(c));
    }
    a.req = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench-load\r\nAccept: */*\r\n{hdrs}{}\r\n",
        if a.close { "Connection: close\r\n" } else { "" }
    )
    .into_bytes();
    a
}
