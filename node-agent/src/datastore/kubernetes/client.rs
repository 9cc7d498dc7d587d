//! How the API server is reached.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{ClientBuilder, ConfigExt};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use tokio::sync::watch as channel;
use tower::BoxError;
use tower::util::{MapErr, MapRequestLayer, MapResponseLayer, option_layer};

use super::watch;

/// How long a connection may be silent while an answer is awaited. It is above a watch's own time,
/// which the server ends with an answer.
const SILENCE: Duration = Duration::from_secs(watch::TIMEOUT_SECONDS as u64 + 15);

/// How long a connection may take to come about. On a node that has just started, kube-proxy may not
/// have told the kernel yet where the API server's service address leads, and nobody refuses.
const CONNECTING: Duration = Duration::from_secs(3);

/// How long a connection may be silent before the kernel asks whether the other end is still there. It
/// need not have closed it: its power is gone, or this node's address is not the one it was.
const QUIET: Duration = Duration::from_secs(10);

/// How often it asks, and how often in vain.
const PROBES_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// Where the API server is and who asks it: as KUBECONFIG says, or as kubelet tells a pod. None
/// where nothing says so.
///
/// # Errors
/// What says so cannot be used.
pub async fn access() -> anyhow::Result<Option<Config>> {
    if std::env::var_os("KUBECONFIG").is_some() {
        return Config::from_kubeconfig(&KubeConfigOptions::default())
            .await
            .map(Some)
            .context("cannot use the file that KUBECONFIG names");
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return Ok(None);
    }
    Config::incluster().map(Some).context("cannot use the pod's service account")
}

/// A client whose every successful answer is told by `heard`.
///
/// # Errors
/// TLS cannot be set up.
pub fn client(mut config: Config, heard: channel::Sender<()>) -> anyhow::Result<Client> {
    let token_file = config.auth_info.token_file.take().map(PathBuf::from);
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_keepalive(Some(QUIET));
    http.set_keepalive_interval(Some(PROBES_EVERY));
    http.set_keepalive_retries(Some(PROBES));
    http.set_tcp_user_timeout(Some(QUIET + PROBES_EVERY * PROBES));
    let https = config.rustls_https_connector_with_connector(http).context("cannot set up TLS")?;
    let mut connector = TimeoutConnector::new(https);
    connector.set_connect_timeout(Some(CONNECTING));
    connector.set_read_timeout(Some(SILENCE));
    connector.set_reset_reader_on_write(true);
    let service = legacy::Client::builder(TokioExecutor::new()).build(connector);
    // The client's own builder would retry as well, but the watch has a patience of its own, and the
    // status should say what it waits for.
    let service = MapErr::new(service, BoxError::from);
    let builder = ClientBuilder::new(service, config.default_namespace.clone())
        .with_layer(&config.extra_headers_layer().context("cannot use the headers configured")?)
        .with_layer(&option_layer(config.auth_layer().context("cannot use the credentials")?))
        .with_layer(&config.base_uri_layer());
    let hearing = MapResponseLayer::new(hearing(heard));
    Ok(match token_file {
        None => builder.with_layer(&hearing).build(),
        Some(file) => {
            builder.with_layer(&MapRequestLayer::new(token_of(file))).with_layer(&hearing).build()
        }
    })
}

/// Tells of every successful answer: a watch that goes on after a disconnect has no event for it.
pub fn hearing<B>(
    heard: channel::Sender<()>,
) -> impl Fn(Response<B>) -> Response<B> + Clone + Send + 'static {
    let heard = Arc::new(heard);
    move |response| {
        if response.status().is_success() {
            heard.send_replace(());
        }
        response
    }
}

/// Gives every request the token that the file has by then: kubelet puts another one there before
/// it expires. The client's own way would go on with an old one for up to a minute; requests are few.
fn token_of<B>(file: PathBuf) -> impl Fn(Request<B>) -> Request<B> + Clone + Send + 'static {
    move |mut request| {
        // Without one the API server says what is wrong.
        if let Some(token) = bearer(&file) {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        request
    }
}

fn bearer(file: &Path) -> Option<HeaderValue> {
    let token = std::fs::read_to_string(file).ok()?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim_end())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
