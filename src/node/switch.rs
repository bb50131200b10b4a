//! Lets a listener offer a service from the first moment: until it can be had the answer says why, then calls pass on.

use arc_swap::{ArcSwap, ArcSwapOption};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

/// A gRPC service that is there only at times.
pub(super) struct Switch<S> {
    service: Arc<ArcSwapOption<S>>,
    /// The answer while it is off.
    absent: Arc<ArcSwap<fn() -> Status>>,
}

impl<S> Switch<S> {
    pub(super) fn off(absent: fn() -> Status) -> Self {
        Self {
            service: Arc::new(ArcSwapOption::empty()),
            absent: Arc::new(ArcSwap::from_pointee(absent)),
        }
    }

    /// Passes calls to `service` from now on.
    pub(super) fn on(&self, service: S) {
        self.service.store(Some(Arc::new(service)));
    }

    /// Takes the service away, with this answer from now on.
    pub(super) fn away(&self, absent: fn() -> Status) {
        self.absent.store(Arc::new(absent));
        self.service.store(None);
    }
}

impl<S> Clone for Switch<S> {
    fn clone(&self) -> Self {
        Self { service: Arc::clone(&self.service), absent: Arc::clone(&self.absent) }
    }
}

impl<S> std::fmt::Debug for Switch<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.service.load().is_some() { "Switch(on)" } else { "Switch(off)" })
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
        if let Some(service) = self.service.load_full() {
            return futures::future::Either::Left(S::clone(&service).call(request));
        }
        let absent = (self.absent.load())();
        futures::future::Either::Right(std::future::ready(Ok(absent.into_http())))
    }
}
