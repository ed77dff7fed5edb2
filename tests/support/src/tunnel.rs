//! A tunnel to a TLS server for clients without TLS; it checks the certificate.

use std::{net::SocketAddr, path::Path, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// A port whose connections continue over TLS; dropping it closes the port.
#[derive(Debug)]
pub struct Tunnel {
    /// Address of the tunnel.
    pub address: SocketAddr,
    serving: AbortHandle,
}

impl Tunnel {
    /// Starts a tunnel to a server on this machine with this certificate, for `localhost`.
    pub async fn start(to: SocketAddr, certificate: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, to, connector.clone()));
            }
        });
        Self { address, serving: serving.abort_handle() }
    }
}

async fn carry(mut client: TcpStream, to: SocketAddr, connector: TlsConnector) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let Ok(mut server) = connector.connect(name, server).await else { return };
    drop(copy_bidirectional(&mut client, &mut server).await);
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
