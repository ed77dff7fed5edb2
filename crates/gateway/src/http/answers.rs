//! Large HTTP answers. They are prepared in turns, and charged to their person until they are written.

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

use crate::Gateway;
use chat::{
    memory::{Charge, Ending, Making, Memory, Reader},
    reads::ReadPermit,
};
use model::account::{Account, Address};
use model::person::Person;
use protocol::error::Error;

/// Bytes of an answer that the server takes at a time. A smaller answer is not charged: the server and the
/// kernel buffer that much of any answer.
const SLICE: usize = 8 * 1024;
/// Free budget that an account must have for a further answer.
const PAGE: usize = 256 * 1024;
/// Retry delay for a client that reads too slowly.
const RETRY: Duration = Duration::from_secs(1);
/// Time limit of the wait to prepare a large answer.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);

/// State of one request: the person of its answer, and the budget reserved for it.
#[derive(Clone)]
pub(crate) struct Answering(Arc<Inner>);

struct Inner {
    memory: Arc<Memory>,
    /// End of the TCP connection.
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

    /// Sets the person to whom the answer is charged.
    pub(crate) fn is_for(&self, person: &Person) {
        self.0.person.get_or_init(|| person.clone());
    }

    /// Refuses another answer to a person whose unread answers fill their budget.
    pub(crate) fn may_ask(&self, person: &Person) -> Result<(), Error> {
        let full = self.0.memory.is_full(&Account::User(person.clone()), PAGE);
        if full { Err(Error::RateLimited(RETRY)) } else { Ok(()) }
    }

    /// Waits for permission to prepare a large answer, held until the answer is charged, and for the permit
    /// to read it. The node's own limit is acquired last, as on sockets: nobody holds it while waiting.
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

/// Lets handlers set the person of the answer, and charges the answer.
pub(crate) async fn layer(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = request.extensions().get::<Address>().copied();
    let ending = request.extensions().get::<Arc<Ending>>().cloned().unwrap_or_default();
    let answering = Answering::new(&gateway.chat.memory, ending);
    request.extensions_mut().insert(answering.clone());
    let response = next.run(request).await;
    // A streamed body is never in memory as a whole.
    let bytes = response.body().size_hint().exact().filter(|bytes| *bytes > SLICE as u64);
    let Some(charge) = bytes.and_then(|bytes| answering.charge(bytes, address)) else {
        return response;
    };
    response.map(|body| Body::new(Sliced { body, ready: Bytes::new(), charge: Some(charge) }))
}

/// Body that the server receives in slices, so that the unwritten rest is held and charged here.
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
        // Copied, because a slice of the buffer would keep the whole buffer.
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
    use chat::memory::counts::MemoryCounts;

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
        // An answer that nobody reads is released too.
        let charge = answering.charge(100_000, Some(address));
        let unread = Body::new(Sliced { body: Body::from(text), ready: Bytes::new(), charge });
        assert_eq!(memory.usage().0, 100_000);
        assert_eq!(to_bytes(unread, 10).await.is_err(), memory.usage().0 == 0);
    }
}
