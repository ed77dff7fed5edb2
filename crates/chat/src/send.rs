//! `message:send`: from a client's content to a committed message.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{
    Chat,
    reads::Operation,
    store::{Appended, Refusal},
    writer::Pending,
};
use media::{Checked, Format, ImagesError, uploads::Upload};
use model::{
    ids::SessionId,
    image::{ImageKey, ObjectKey},
    message::{Draft, Image, Message},
    scope::Scope,
};
use platform::new_id;
use protocol::{Content, What, answers::Sent, error::Error};

impl Chat {
    /// Queues the send at once, so that a connection's sends keep their order. Resolves when the database
    /// has decided. A picture is queued after its check, so its order is that of the end of the check.
    pub fn send(
        self: &Arc<Self>,
        me: &Scope,
        session_id: SessionId,
        content: Content,
    ) -> impl Future<Output = Result<Sent, Error>> + Send + use<> {
        let admitted = self.still_admits(me);
        let Content { client_id, what, reply_to } = content;
        let (id, sender, image) = (new_id(), me.person().clone(), None);
        match what {
            What::Text(body) => {
                let body = Some(body);
                let draft = Draft { id, session_id, sender, client_id, body, image, reply_to };
                let asked = draft.body.clone();
                let pending = admitted.and_then(|()| self.writer.submit(draft));
                async move { decided(pending?, |message| message.body == asked).await }
                    .left_future()
            }
            What::Image { key, caption } => {
                let body = caption;
                let draft = Draft { id, session_id, sender, client_id, body, image, reply_to };
                let (chat, me) = (Arc::clone(self), me.clone());
                async move {
                    admitted?;
                    chat.send_picture(&me, draft, key).await
                }
                .right_future()
            }
        }
    }

    async fn send_picture(&self, me: &Scope, mut draft: Draft, key: String) -> Result<Sent, Error> {
        let began = Instant::now();
        let looked = self.check_upload(me, draft.session_id, &key).await;
        self.delivery.picture.took(began.elapsed());
        let (wanted, problem) = match looked {
            Ok((image, format)) => {
                draft.image = Some(image);
                (Some(format), None)
            }
            // A repeated send returns its first result, whatever has happened to its picture or to S3. A
            // new send with a nameless picture is never committed.
            Err(error) => {
                draft.image = Some(Image::nameless());
                (None, Some(error))
            }
        };
        let (session_id, body) = (draft.session_id, draft.body.clone());
        let is_same = |message: &Message| {
            message.body == body && message.image.as_ref().is_some_and(|image| image.key == key)
        };
        // The sender may have been blocked during the check.
        self.still_admits(me)?;
        let pending = self.writer.submit(draft)?;
        let sent = decided(pending, is_same).await;
        match (&sent, wanted, key.parse()) {
            (Ok(sent), Some(format), Ok(key)) if !sent.duplicate => {
                self.images.want_thumbnail(&ObjectKey::new(session_id, key), format);
            }
            (Err(Error::Invalid(name, _)), ..) if name == "imageKey" => {
                return Err(problem.unwrap_or_else(no_such_image));
            }
            _ => {}
        }
        // It is not the answer, so nobody else handles it.
        if let Some(problem) = problem {
            problem.log_cause();
        }
        sent
    }

    /// Checks the upload under this key. Returns the picture for the message.
    async fn check_upload(
        &self,
        me: &Scope,
        session_id: SessionId,
        key: &str,
    ) -> Result<(Image, Format), Error> {
        let image_key: ImageKey = key.parse().map_err(|_| no_such_image())?;
        let upload = self.uploads.upload(me, session_id, &image_key).await?;
        let sendable = |upload: &Upload| upload.mine && upload.waiting && !upload.is_late();
        let upload = upload.filter(sendable).ok_or_else(no_such_image)?;
        let object = ObjectKey::new(session_id, image_key);
        let permit = self.reads.permit(Operation::Picture, me).await?;
        let checked = self.images.check(&object, upload.size).await;
        drop(permit);
        if let Err(ImagesError::Wrong(_)) = checked {
            // A second check would cost as much, with the same result.
            self.uploads.refuse_upload(me, session_id, object.image()).await?;
            self.images.withdrawn.notify_one();
        }
        let Checked { format, width, height } = checked?;
        let image = Image {
            key: key.to_owned(),
            content_type: format.to_string(),
            size: upload.size,
            width,
            height,
            file_name: upload.file_name.map(|name| name.as_str().to_owned()),
        };
        Ok((image, format))
    }
}

/// Outcome of the writer.
async fn decided(pending: Pending, is_same: impl FnOnce(&Message) -> bool) -> Result<Sent, Error> {
    match pending.decided().await? {
        Appended::Committed(message) => Ok(Sent { message, duplicate: false, differs: false }),
        Appended::Repeated(message) => {
            // A message that was changed since cannot be compared.
            let changed = message.edited_at.is_some() || message.deleted_at.is_some();
            let differs = !changed && !is_same(&message);
            Ok(Sent { message, duplicate: true, differs })
        }
        Appended::Refused(Refusal::SessionNotFound) => Err(Error::SessionNotFound),
        Appended::Refused(Refusal::SessionClosed) => Err(Error::SessionClosed),
        Appended::Refused(Refusal::ReplyNotFound) => {
            Err(Error::invalid("replyTo", "names no message in this session"))
        }
        Appended::Refused(Refusal::ImageNotFound) => Err(no_such_image()),
        Appended::Refused(Refusal::Value) => {
            Err(Error::invalid("body", "contains text that the database can't store"))
        }
        // The writer retries locked sends until they are decided.
        Appended::Locked => Err(Error::Unavailable),
    }
}

fn no_such_image() -> Error {
    Error::invalid("imageKey", "does not name an uploaded, unsent picture of yours in this session")
}
