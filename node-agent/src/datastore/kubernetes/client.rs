//! How the API server is reached.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use kube::client::ClientBuilder;
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use tokio::sync::watch as channel;
use tower::util::{MapRequestLayer, MapResponseLayer};

use super::watch;

/// How long a connection may be silent while an answer is awaited. It is above a watch's own time,
/// which the server ends with an answer.
const SILENCE: Duration = Duration::from_secs(watch::TIMEOUT_SECONDS as u64 + 15);

/// How long a connection may take to come about. On a node that has just started, kube-proxy may not
/// have told the kernel yet where the API server's service address leads, and nobody refuses.
const CONNECTING: Duration = Duration::from_secs(3);

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
    config.connect_timeout = Some(CONNECTING);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // The watch has a patience of its own, and the status should say what it waits for.
    config.default_retry = false;
    let token_file = config.auth_info.token_file.take().map(PathBuf::from);
    let builder = ClientBuilder::try_from(config).context("cannot set up TLS")?;
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
