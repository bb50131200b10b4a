//! Lets the socket offer the control API from the first moment: without a cluster it says so, then it passes on.

use crate::wire::status::status;
use arc_swap::ArcSwapOption;
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{Code, body::Body, server::NamedService};
use tower::Service;

/// A gRPC service that is there only while this node is a manager.
pub(super) struct Switch<S>(Arc<ArcSwapOption<S>>);

impl<S> Switch<S> {
    pub(super) fn off() -> Self {
        Self(Arc::new(ArcSwapOption::empty()))
    }

    /// Passes calls to `service` from now on; `None` takes it away.
    pub(super) fn set(&self, service: Option<S>) {
        self.0.store(service.map(Arc::new));
    }
}

impl<S> Clone for Switch<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> std::fmt::Debug for Switch<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.load().is_some() { "Switch(on)" } else { "Switch(off)" })
    }
}

impl<S: NamedService> NamedService for Switch<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Switch<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future =
        futures::future::Either<S::Future, std::future::Ready<Result<Self::Response, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // tonic's services are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if let Some(service) = self.0.load_full() {
            return futures::future::Either::Left(S::clone(&service).call(request));
        }
        // Not `Unavailable`: no patience of the caller's brings a cluster about.
        let inactive = status(
            Code::FailedPrecondition,
            "this node is not part of a cluster",
            Some("found one with `secretctl init`".to_owned()),
        );
        futures::future::Either::Right(std::future::ready(Ok(inactive.into_http())))
    }
}
