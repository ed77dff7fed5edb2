//! Answers over HTTP that are large: made in turns, and charged to their person until they are written.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Error as BodyError,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::timeout;

use crate::{
    app::App,
    error::Error,
    limits::{Account, address::Address, reads::ReadPermit},
    memory::{Charge, Ending, Making, Memory, Reader},
    person::Person,
};

/// The bytes of an answer that the server takes at a time. A smaller answer is not counted: the server
/// and the kernel hold as much of any.
const SLICE: usize = 8 * 1024;
/// Room that an account must have for an answer more.
const PAGE: usize = 256 * 1024;
/// When a client that reads too little may ask again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a large answer waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);

/// Of one request: whose its answer is, and what is held for it.
#[derive(Clone)]
pub(crate) struct Answering(Arc<Inner>);

struct Inner {
    memory: Arc<Memory>,
    /// Of the TCP connection.
    ending: Arc<Ending>,
    person: OnceLock<Person>,
    reader: OnceLock<Arc<Reader>>,
    making: Mutex<Option<Making>>,
}

impl Answering {
    fn new(memory: &Arc<Memory>, ending: Arc<Ending>) -> Self {
        Self(Arc::new(Inner {
            memory: Arc::clone(memory),
            ending,
            person: OnceLock::new(),
            reader: OnceLock::new(),
            making: Mutex::default(),
        }))
    }

    /// The answer is this person's.
    pub(crate) fn is_for(&self, person: &Person) {
        self.0.person.get_or_init(|| person.clone());
    }

    /// Refuses more to a person who does not read what there is.
    pub(crate) fn may_ask(&self, person: &Person) -> Result<(), Error> {
        let full = self.0.memory.is_full(&Account::User(person.clone()), PAGE);
        if full { Err(Error::RateLimited(RETRY)) } else { Ok(()) }
    }

    /// Waits for a turn to make a large answer, which is kept until the answer is charged, and for the permit
    /// to read it. The turn of the node is the last one, here as on sockets: nobody holds it and waits.
    pub(crate) async fn page(
        &self,
        permit: impl Future<Output = Result<ReadPermit, Error>>,
    ) -> Result<ReadPermit, Error> {
        let Some(reader) = self.reader(None) else { return permit.await };
        let making = timeout(TURN_TIMEOUT, reader.making()).await;
        let mut making = making.ok().flatten().ok_or(Error::Busy)?;
        let permit = permit.await?;
        timeout(TURN_TIMEOUT, making.begin()).await.map_err(|_| Error::Busy)?;
        *self.0.making.lock().unwrap_or_else(PoisonError::into_inner) = Some(making);
        Ok(permit)
    }

    fn reader(&self, address: Option<Address>) -> Option<&Arc<Reader>> {
        let account = match (self.0.person.get(), address) {
            (Some(person), _) => Account::User(person.clone()),
            (None, Some(address)) => Account::Address(address),
            (None, None) => return None,
        };
        let Inner { memory, ending, .. } = &*self.0;
        Some(self.0.reader.get_or_init(|| memory.reader(account, ending)))
    }

    fn charge(&self, bytes: u64, address: Option<Address>) -> Option<Charge> {
        let charge = self.reader(address)?.charge(usize::try_from(bytes).ok()?);
        drop(self.0.making.lock().unwrap_or_else(PoisonError::into_inner).take());
        Some(charge)
    }
}

/// Lets handlers say whose the answer is, and charges what they answer.
pub(crate) async fn layer(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = request.extensions().get::<Address>().copied();
    let ending = request.extensions().get::<Arc<Ending>>().cloned().unwrap_or_default();
    let answering = Answering::new(&app.memory, ending);
    request.extensions_mut().insert(answering.clone());
    let response = next.run(request).await;
    // A streamed body is never here as a whole.
    let bytes = response.body().size_hint().exact().filter(|bytes| *bytes > SLICE as u64);
    let Some(charge) = bytes.and_then(|bytes| answering.charge(bytes, address)) else {
        return response;
    };
    response.map(|body| Body::new(Sliced { body, ready: Bytes::new(), charge: Some(charge) }))
}

/// A body that is given to the server a slice at a time, so that what is not written is held here, and
/// counted.
struct Sliced {
    body: Body,
    ready: Bytes,
    charge: Option<Charge>,
}

impl HttpBody for Sliced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while self.ready.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.ready = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let size = self.ready.len().min(SLICE);
        // Copied: a part of it would hold the whole.
        let slice = Bytes::copy_from_slice(&self.ready.split_to(size));
        if self.is_end_stream() {
            self.ready = Bytes::new();
            self.charge = None;
        }
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.len() as u64;
        self.body
            .size_hint()
            .exact()
            .map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + ready))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::metrics::memory::MemoryCounts;

    #[tokio::test]
    async fn i8_an_answer_is_charged_until_its_last_slice_is_taken() {
        let memory = Memory::new(64 * 1024 * 1024, MemoryCounts::default());
        let answering = Answering::new(&memory, Arc::default());
        let address = Address::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let text: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let charge = answering.charge(100_000, Some(address));
        let body = Body::from(text.clone());
        let mut body = Sliced { body, ready: Bytes::new(), charge };
        let mut taken = Vec::new();
        while taken.len() < text.len() {
            assert_eq!(memory.usage().0, 100_000);
            assert_eq!(body.size_hint().exact(), Some((text.len() - taken.len()) as u64));
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            taken.extend_from_slice(&frame.await.unwrap().unwrap().into_data().unwrap());
        }
        assert!(taken == text && body.is_end_stream());
        assert_eq!(memory.usage().0, 0);
        // Nor is one kept that nobody takes.
        let charge = answering.charge(100_000, Some(address));
        let unread = Body::new(Sliced { body: Body::from(text), ready: Bytes::new(), charge });
        assert_eq!(memory.usage().0, 100_000);
        assert_eq!(to_bytes(unread, 10).await.is_err(), memory.usage().0 == 0);
    }
}
