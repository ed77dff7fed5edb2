//! Tests against the embedded server, with requests as a client sends them.

use aws_sdk_s3::presigning::PresigningConfig;
use axum::{
    body::Body,
    http::{Method, Request, Response, StatusCode},
};
use tempfile::TempDir;

use std::collections::BTreeMap;

use super::*;
use media::{
    Checked, FETCH_EXPIRES, Format, Images, ImagesError, NO_MEASURES, NO_PICTURE, Origin,
    TOO_LARGE, samples,
};
use model::ids::SessionId;
use model::image::{FileName, ImageKey};
use platform::{new_id, tasks::Tasks};

/// Address by which clients reach the node.
const ORIGIN: &str = "http://desk.example:3000";

struct Desk {
    server: Server,
    images: Images,
    key: ObjectKey,
    origin: Origin,
    _data: TempDir,
}

impl Desk {
    fn open() -> Self {
        let data = tempfile::tempdir().unwrap();
        let server = Server::open(data.path()).unwrap();
        let host = (header::HOST, "desk.example:3000".parse().unwrap());
        Self {
            images: Images::start(server.bucket(), &Tasks::default()),
            server,
            key: ObjectKey::new(SessionId(new_id()), ImageKey::new(rand::random())),
            origin: Origin::of(&HeaderMap::from_iter([host])).unwrap(),
            _data: data,
        }
    }

    /// Sends a request to a URL, as a client does.
    async fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &BTreeMap<String, String>,
        body: Vec<u8>,
    ) -> Response<Body> {
        let (origin, path) = url.split_at(ORIGIN.len());
        assert_eq!(origin, ORIGIN);
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.header("host", "desk.example:3000").body(Body::from(body)).unwrap();
        let object = path.trim_start_matches("/frontdesk-images/").split('?').next().unwrap();
        self.server.serve(object, request).await.unwrap()
    }

    async fn upload(&self, format: Format, bytes: &[u8]) -> StatusCode {
        let size = bytes.len() as u64;
        let upload =
            self.images.presign_upload(&self.key, format, size, &self.origin).await.unwrap();
        self.ask(&upload.method, &upload.url, &upload.headers, bytes.to_vec()).await.status()
    }

    async fn check(&self, format: Format, size: usize) -> Result<(u32, u32), String> {
        let checked = self.images.check(&self.key, size as u64).await;
        let measures = |checked: Checked| {
            assert_eq!(checked.format, format);
            (checked.width, checked.height)
        };
        checked.map(measures).map_err(|error| match error {
            ImagesError::Refused(problem) | ImagesError::Wrong(problem) => problem.to_owned(),
            ImagesError::Unavailable(problem) => panic!("{problem}"),
        })
    }
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

#[tokio::test]
async fn a_picture_goes_there_and_back_by_presigned_urls() {
    let desk = Desk::open();
    desk.images.ping().await.unwrap();
    let picture = samples::picture(Format::Jpeg, 1000, 500);
    assert_eq!(desk.upload(Format::Jpeg, &picture).await, StatusCode::OK);
    assert_eq!(desk.check(Format::Jpeg, picture.len()).await, Ok((1000, 500)));

    let name = FileName::try_from("Zähne.html".to_owned()).unwrap();
    let url = desk.images.locate(&desk.key, Format::Jpeg, Some(&name), &desk.origin).await.unwrap();
    let fetched = desk.ask("GET", &url, &BTreeMap::new(), Vec::new()).await;
    assert_eq!(fetched.status(), StatusCode::OK);
    assert_eq!(fetched.headers()["content-type"], "image/jpeg");
    let disposition = fetched.headers()["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("inline; filename=\"Z_hne.html.jpg\""), "{disposition}");
    assert_eq!(bytes(fetched).await, picture);
}

#[tokio::test]
async fn a_thumbnail_is_made_when_it_is_asked_for() {
    let desk = Desk::open();
    let picture = samples::picture(Format::Png, 1000, 500);
    desk.upload(Format::Png, &picture).await;
    let waiting = async {
        loop {
            let url = desk.images.locate_thumbnail(&desk.key, Format::Png, None, &desk.origin);
            let fetched = desk.ask("GET", &url.await.unwrap(), &BTreeMap::new(), Vec::new()).await;
            if fetched.headers()["content-type"] == "image/jpeg" {
                return bytes(fetched).await;
            }
            assert_eq!(bytes(fetched).await, picture, "the picture stands in for it");
        }
    };
    let thumbnail = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    let thumbnail = image::load_from_memory(&thumbnail).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (320, 160));

    desk.images.remove(&desk.key).await.unwrap();
    desk.images.remove(&desk.key).await.unwrap();
    assert_eq!(desk.check(Format::Png, picture.len()).await, Err("was not uploaded".to_owned()));
    assert_eq!(desk.images.bucket().size(&desk.key.thumbnail()).await.unwrap(), None);
}

#[tokio::test]
async fn b52_b53_b54_b56_b57_only_what_was_announced_becomes_a_message() {
    let refused = [
        (Format::Png, samples::NO_PICTURES[0].to_vec(), NO_PICTURE),
        (Format::Png, samples::bomb(), TOO_LARGE),
        (Format::Jpeg, b"\xff\xd8\xff\xe0\0\0\0\0\0\0\0\0".to_vec(), NO_MEASURES),
    ];
    for (format, bytes, problem) in refused {
        let desk = Desk::open();
        assert_eq!(desk.check(format, bytes.len()).await, Err("was not uploaded".to_owned()));
        assert_eq!(desk.upload(format, &bytes).await, StatusCode::OK);
        assert_eq!(desk.check(format, bytes.len()).await, Err(problem.to_owned()));
        let problem = "does not have the announced size";
        assert_eq!(desk.check(format, bytes.len() + 1).await, Err(problem.to_owned()));
    }
}

#[tokio::test]
async fn a_picture_of_another_type_than_was_announced_is_what_its_bytes_are() {
    let desk = Desk::open();
    let picture = samples::picture(Format::Png, 64, 48);
    assert_eq!(desk.upload(Format::Jpeg, &picture).await, StatusCode::OK);
    assert_eq!(desk.check(Format::Png, picture.len()).await, Ok((64, 48)));
}

#[tokio::test]
async fn measures_that_come_late_in_the_file_are_found() {
    let desk = Desk::open();
    let picture = samples::picture(Format::Jpeg, 64, 48);
    let mut file = picture[..2].to_vec();
    for _ in 0..8 {
        file.extend(b"\xff\xe2\xff\xff");
        file.extend(vec![0; 65_533]);
    }
    file.extend(&picture[2..]);
    desk.upload(Format::Jpeg, &file).await;
    assert_eq!(desk.check(Format::Jpeg, file.len()).await, Ok((64, 48)));
}

#[tokio::test]
async fn b51_b54_b55_a_url_is_for_one_picture_of_one_type_and_length_once() {
    let desk = Desk::open();
    let picture = samples::picture(Format::Png, 64, 48);
    let upload = desk
        .images
        .presign_upload(&desk.key, Format::Png, picture.len() as u64, &desk.origin)
        .await
        .unwrap();
    assert_eq!(upload.method, "PUT");
    let with = |name: &str, value: &str| {
        let mut headers = upload.headers.clone();
        headers.insert(name.to_owned(), value.to_owned());
        headers
    };
    let put = async |url: &str, headers: &BTreeMap<String, String>, body: &[u8]| {
        desk.ask("PUT", url, headers, body.to_vec()).await.status()
    };
    let other = upload.url.replace(&desk.key.original(), &{
        ObjectKey::new(SessionId(new_id()), ImageKey::new(rand::random())).original()
    });
    let mut bare = upload.headers.clone();
    bare.remove("if-none-match");
    for (url, headers) in [
        (upload.url.as_str(), with("content-type", "text/html")),
        (&upload.url, with("content-length", "5")),
        (&upload.url, bare),
        (&other, upload.headers.clone()),
        (upload.url.split('?').next().unwrap(), upload.headers.clone()),
        (&upload.url.replace("X-Amz-Expires=300", "X-Amz-Expires=604800"), upload.headers.clone()),
    ] {
        assert_eq!(put(url, &headers, &picture).await, StatusCode::FORBIDDEN, "{url} {headers:?}");
    }
    let fetched = desk.ask("GET", &upload.url, &upload.headers, Vec::new()).await;
    assert_eq!(fetched.status(), StatusCode::FORBIDDEN, "it is no URL to fetch by");
    assert_eq!(desk.check(Format::Png, picture.len()).await, Err("was not uploaded".to_owned()));

    // A body in chunks may be longer than its signed length.
    let chunked = Request::builder().method("PUT").uri(&upload.url);
    let chunked = chunked.header("transfer-encoding", "chunked").body(Body::empty()).unwrap();
    assert!(desk.server.serve(&desk.key.original(), chunked).await.is_err());

    // A header that would copy another picture over this one is ignored.
    let copying = with("x-amz-copy-source", &format!("/frontdesk-images/{}", desk.key.thumbnail()));
    assert_eq!(put(&upload.url, &copying, &picture).await, StatusCode::OK);
    assert_eq!(desk.check(Format::Png, picture.len()).await, Ok((64, 48)));
    // The sender can't replace a picture later.
    let again = put(&upload.url, &upload.headers, &picture).await;
    assert_eq!(again, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn b55_a_url_ends() {
    let desk = Desk::open();
    let picture = samples::picture(Format::Png, 64, 48);
    desk.upload(Format::Png, &picture).await;
    let bucket = desk.images.bucket();
    let mut statuses = Vec::new();
    for age in [59, 61] {
        let signed = std::time::SystemTime::now() - Duration::from_secs(age);
        let times = PresigningConfig::builder().start_time(signed).expires_in(FETCH_EXPIRES);
        let get = bucket.client.get_object().bucket(&bucket.name).key(desk.key.original());
        let here = aws_sdk_s3::Config::builder().endpoint_url(ORIGIN);
        let get = get.customize().config_override(here).presigned(times.build().unwrap());
        let url = get.await.unwrap().uri().to_owned();
        statuses.push(desk.ask("GET", &url, &BTreeMap::new(), Vec::new()).await.status());
    }
    assert_eq!(statuses, [StatusCode::OK, StatusCode::FORBIDDEN]);
}
