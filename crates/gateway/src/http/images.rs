//! `/api/chats/{id}/images`: requests for uploads, and the pictures of messages.

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

use super::request::{Authenticated, InSession, Json, Params};
use crate::Gateway;
use media::{Format, Origin, PresignedUpload, SIZE_MAX, uploads::NewUpload};
use model::{
    ids::SessionId,
    image::{FileName, ImageKey, ObjectKey},
};
use platform::openapi::in_path;
use protocol::{
    error::Error,
    problems::{Authentication, Body, Closed, Input, NoImage, NoSession, Problems, TooManyImages},
};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ImageAsk)]
pub(crate) struct Ask {
    #[schema(value_type = Format)]
    content_type: String,
    /// Size in bytes.
    #[serde(deserialize_with = "protocol::whole")]
    #[schema(minimum = 1, maximum = 10_485_760)]
    size: u64,
    #[serde(default)]
    file_name: Option<FileName>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invited {
    #[schema(value_type = ImageKey)]
    image_key: String,
    upload: PresignedUpload,
}

/// Reserves a key for one picture, and gives a URL to upload it to. No message is sent yet.
#[utoipa::path(
    post, path = "", operation_id = "invite", tag = "images", params(InSession), request_body = Ask,
    responses(
        (status = 201, body = Invited, description = "Upload the picture to the URL before `expiresAt`, with exactly these headers."),
        Problems<(Authentication, NoSession, Body, Closed, TooManyImages)>,
    )
)]
pub(crate) async fn presign_upload(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    InSession(session_id): InSession,
    headers: HeaderMap,
    Json(ask): Json<Ask>,
) -> Result<(StatusCode, JsonBody<Invited>), Error> {
    let format = ask.content_type.parse().map_err(|error| {
        let error: media::InvalidFormat = error;
        Error::invalid("contentType", error.to_string())
    })?;
    if !(1..=SIZE_MAX).contains(&ask.size) {
        return Err(Error::invalid("size", format!("must be from 1 to {SIZE_MAX} bytes")));
    }
    let origin = origin(&headers)?;
    let key = ImageKey::new(rand::random());
    let new = NewUpload {
        session_id,
        key: key.clone(),
        format,
        size: ask.size,
        file_name: ask.file_name,
    };
    gateway.chat.uploads.note_upload(&me, &new).await??;
    let object = ObjectKey::new(session_id, key);
    let upload = gateway.chat.images.presign_upload(&object, format, ask.size, &origin).await?;
    let image_key = object.image().to_string();
    Ok((StatusCode::CREATED, JsonBody(Invited { image_key, upload })))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Fetch {
    /// The original picture, or a JPEG of at most 320 × 320 pixels.
    #[param(value_type = Option<Size>, inline)]
    size: Option<String>,
}

/// Size of the requested picture.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it is for the document")]
enum Size {
    Original,
    Thumbnail,
}

/// Path parameters of a picture.
struct OfImage;

impl IntoParams for OfImage {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut params = InSession::into_params(place);
        params.push(in_path("image", "The picture's `imageKey`.", ImageKey::schema()));
        params
    }
}

/// Redirects to the picture's URL, which is valid for a minute. The caller must be a member, and a message
/// must show the picture.
#[utoipa::path(
    get, path = "", tag = "images", params(OfImage, Fetch),
    responses(
        (status = 302, description = "The picture's URL. Request it without the token.", headers(("Location" = String))),
        Problems<(Authentication, NoImage, Input)>,
    )
)]
pub(crate) async fn fetch(
    State(gateway): State<Arc<Gateway>>,
    Authenticated(me): Authenticated,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
    Params(asked): Params<Fetch>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Error> {
    let thumbnail = match asked.size.as_deref() {
        None | Some("original") => false,
        Some("thumbnail") => true,
        Some(_) => return Err(Error::invalid("size", "must be original or thumbnail")),
    };
    let origin = origin(&headers)?;
    let (id, key) = named(path).ok_or(Error::ImageNotFound)?;
    let upload = gateway.chat.uploads.upload(&me, id, &key).await?;
    let upload = upload.filter(|upload| upload.shown).ok_or(Error::ImageNotFound)?;
    let (object, name) = (ObjectKey::new(id, key), upload.file_name.as_ref());
    let url = if thumbnail {
        gateway.chat.images.locate_thumbnail(&object, upload.format, name, &origin).await?
    } else {
        gateway.chat.images.locate(&object, upload.format, name, &origin).await?
    };
    Ok((StatusCode::FOUND, [(header::LOCATION, url)]))
}

fn named<E>(path: Result<Path<(String, String)>, E>) -> Option<(SessionId, ImageKey)> {
    let Path((id, key)) = path.ok()?;
    Some((SessionId(id.parse().ok()?), key.parse().ok()?))
}

fn origin(headers: &HeaderMap) -> Result<Origin, Error> {
    Origin::of(headers).ok_or_else(|| Error::invalid("Host", "is not a host's name"))
}
