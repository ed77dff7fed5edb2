//! Proof that another node carried a request here, and that an answer comes from the right node.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Uri, header},
    response::Response,
};
use hyper::http::HeaderName;

use bus::cluster::{ClusterSecret, Distrust, Purpose, Replays, STAMP};
use model::account::Address;

/// Marks a request that another node has carried here, which is not carried on. The value is that node's
/// signature on the request.
pub(crate) const CARRIED: HeaderName = HeaderName::from_static("x-frontdesk-carried");
/// Address of the client of that node. It counts only in a signed request.
const CLIENT: HeaderName = HeaderName::from_static("x-frontdesk-client");
/// Signature on the answer to such a request.
const ANSWER: HeaderName = HeaderName::from_static("x-frontdesk-answer");

/// A request that a node has carried here.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    /// Address of the client, if it is known.
    pub client: Option<Address>,
    /// Signature on the request. The answer's signature covers it.
    stamp: String,
}

impl Carried {
    /// Accepts a request that a node of this cluster has carried here, if the signature is recent and unused.
    pub(crate) fn read(
        secret: &ClusterSecret,
        replays: &Replays,
        request: &Request,
    ) -> Option<Self> {
        let headers = request.headers();
        let stamp = only(headers, &CARRIED).filter(|stamp| stamp.len() == STAMP)?;
        let client = only(headers, &CLIENT).unwrap_or_default();
        let (method, uri) = (request.method(), request.uri());
        let parts = asked(secret.node(), method, uri, client);
        let origin = secret.verify(Purpose::Request, &parts, stamp.as_bytes()).ok()?;
        if !replays.admit(&origin) {
            secret.distrust(Purpose::Request, Distrust::Repeated);
            return None;
        }
        let client = client.parse::<std::net::IpAddr>().ok().map(Address::from);
        Some(Self { client, stamp: stamp.to_owned() })
    }

    /// Signs the answer to it.
    pub(crate) fn sign(&self, secret: &ClusterSecret, response: &mut Response) {
        let status = response.status();
        let parts = answered(&self.stamp, status.as_str(), response.headers());
        let stamp = secret.sign(Purpose::Answer, &parts);
        if let Ok(stamp) = HeaderValue::from_str(&stamp) {
            response.headers_mut().insert(ANSWER, stamp);
        }
    }
}

/// Signs a request that is carried to the node `to`, with the client's address. Returns the signature.
pub(super) fn mark(secret: &ClusterSecret, to: &str, request: &mut Request) -> String {
    let client = request.extensions().get::<Address>().map(ToString::to_string);
    let client = client.unwrap_or_default();
    let parts = asked(to, request.method(), request.uri(), &client);
    let stamp = secret.sign(Purpose::Request, &parts);
    let headers = request.headers_mut();
    for (name, value) in [(CARRIED, stamp.as_str()), (CLIENT, &client)] {
        headers.remove(&name);
        if let Ok(value) = HeaderValue::from_str(value)
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
    stamp
}

/// Whether this is that node's answer to the request with this signature.
pub(super) fn is_answer<B>(
    secret: &ClusterSecret,
    node: &str,
    request: &str,
    response: &axum::http::Response<B>,
) -> bool {
    let status = response.status();
    let parts = answered(request, status.as_str(), response.headers());
    let Some(stamp) = only(response.headers(), &ANSWER) else {
        secret.distrust(Purpose::Answer, Distrust::Unsigned);
        return false;
    };
    let origin = secret.verify(Purpose::Answer, &parts, stamp.as_bytes());
    origin.is_ok_and(|origin| origin.node == node)
}

fn asked<'a>(to: &'a str, method: &'a Method, uri: &'a Uri, client: &'a str) -> [&'a [u8]; 4] {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    [to, method.as_str(), path, client].map(str::as_bytes)
}

/// Signed parts of an answer, with the headers that decide how a browser treats it.
fn answered<'a>(request: &'a str, status: &'a str, headers: &'a HeaderMap) -> [&'a [u8]; 4] {
    let header = |name| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let (kind, length) = (header(header::CONTENT_TYPE), header(header::CONTENT_ENCODING));
    [request.as_bytes(), status.as_bytes(), kind, length]
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::{body::Body, http::StatusCode, response::IntoResponse};

    use super::*;
    use bus::cluster::{config::ClusterConfig, counts::DistrustCounts};
    use platform::variables::Variables;

    const HERE: &str = "aaaaaaaaaaaa";
    const THERE: &str = "bbbbbbbbbbbb";

    fn secret(node: &str) -> ClusterSecret {
        let variables = Variables::of(&[("CLUSTER_SECRET", "a secret of 32 characters or more")]);
        let config = ClusterConfig::read(&variables, [("", None); 2]).unwrap();
        ClusterSecret::new(&config, node, DistrustCounts::default())
    }

    fn request(client: Address) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static("/socket.io/?EIO=4&sid=1");
        request.headers_mut().insert(CLIENT, HeaderValue::from_static("198.51.100.1"));
        request.extensions_mut().insert(client);
        request
    }

    #[test]
    fn b20_c14_only_a_node_is_believed_for_whom_it_carries_and_once() {
        let (here, there, replays) = (secret(HERE), secret(THERE), Replays::default());
        let client = Address::from(IpAddr::from([203, 0, 113, 9]));
        let read = |request: &Request| Carried::read(&there, &replays, request);
        assert!(read(&request(client)).is_none(), "a client's own word");
        let marked = || {
            let mut request = request(client);
            mark(&here, THERE, &mut request);
            request
        };
        let carried = marked();
        assert_eq!(read(&carried).unwrap().client, Some(client));
        assert!(read(&carried).is_none(), "it is taken once");
        let elsewhere = Carried::read(&secret("cccccccccccc"), &Replays::default(), &marked());
        assert!(elsewhere.is_none(), "it was for another node");
        let changes: [fn(&mut Request); 5] = [
            |request| *request.method_mut() = Method::POST,
            |request| *request.uri_mut() = Uri::from_static("/socket.io/?EIO=4&sid=2"),
            |request| drop(request.headers_mut().insert(CLIENT, HeaderValue::from_static("::1"))),
            |request| drop(request.headers_mut().remove(CLIENT)),
            |request| drop(request.headers_mut().insert(CARRIED, HeaderValue::from_static("1"))),
        ];
        for change in changes {
            let mut request = marked();
            change(&mut request);
            assert!(read(&request).is_none());
        }
    }

    #[test]
    fn c14_an_answer_is_the_nodes_own_and_to_this_request() {
        let (here, there) = (secret(HERE), secret(THERE));
        let mut request = request(Address::from(IpAddr::from([203, 0, 113, 9])));
        let stamp = mark(&here, THERE, &mut request);
        let carried = Carried::read(&there, &Replays::default(), &request).unwrap();
        let answer = |signer: &ClusterSecret| {
            let mut response = (StatusCode::OK, "6").into_response();
            carried.sign(signer, &mut response);
            response
        };
        let is_answer = |response: &Response| is_answer(&here, THERE, &stamp, response);
        assert!(is_answer(&answer(&there)));
        assert!(!is_answer(&answer(&secret("cccccccccccc"))), "another node's");
        assert!(!is_answer(&(StatusCode::OK, "6").into_response()), "nobody's");
        let mut other = answer(&there);
        *other.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        assert!(!is_answer(&other));
        let mut other = answer(&there);
        other.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        assert!(!is_answer(&other));
        let again = mark(&here, THERE, &mut request);
        assert!(!super::is_answer(&here, THERE, &again, &answer(&there)), "to another request");
    }
}
