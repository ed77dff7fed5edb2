//! Pictures that may be uploaded.

use jiff::{Timestamp, ToSpan};

use super::{
    committed, refused,
    world::{self, Acting, World, draft},
};
use crate::store::{Appended, HistoryRange, Refusal};
use media::{
    Format,
    uploads::{DAILY_BYTES_MAX, DAILY_MAX, Declined, NewUpload},
};
use model::{
    ids::{SessionId, TenantId},
    image::{ImageKey, ObjectKey},
    message::{Draft, Image, MessageKind, amend::Amendment},
    person::{Person, Side},
};
use platform::new_id;

fn new_upload(session_id: SessionId) -> NewUpload {
    NewUpload {
        session_id,
        key: ImageKey::new(rand::random()),
        format: Format::Png,
        size: 70,
        file_name: Some("Zähne.png".to_owned().try_into().unwrap()),
    }
}

async fn noted(world: &World, session_id: SessionId, by: &Person) -> ImageKey {
    let new = new_upload(session_id);
    world.uploads().note_upload(&by.scope(), &new).await.unwrap().unwrap();
    new.key
}

fn showing(session_id: SessionId, sender: &Person, key: &ImageKey) -> Draft {
    let image = Image {
        key: key.to_string(),
        content_type: "image/png".into(),
        size: 70,
        width: 4,
        height: 3,
        file_name: None,
    };
    Draft { body: None, image: Some(image), ..draft(session_id, sender, "x") }
}

pub(super) async fn a_picture_is_taken_by_one_message(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let key = noted(&world, id, &customer).await;
    let upload = world.uploads().upload(&customer.scope(), id, &key).await.unwrap().unwrap();
    assert!(upload.mine && upload.waiting && !upload.shown && !upload.is_late());
    assert_eq!((upload.format, upload.size), (Format::Png, 70));
    assert_eq!(upload.file_name.unwrap().as_str(), "Zähne.png");

    let (first, second) = (showing(id, &customer, &key), showing(id, &customer, &key));
    let text = draft(id, &customer, "beside it");
    let appended = world.store.append(&[first.clone(), text, second.clone()]).await.unwrap();
    let message = committed(&appended[0]);
    assert_eq!(
        (message.kind, &message.body, &message.image),
        (MessageKind::Image, &None, &first.image)
    );
    assert_eq!(committed(&appended[1]).seq, 2);
    assert_eq!(refused(&appended[2]), Refusal::ImageNotFound, "in one batch");
    let late = world.another_node().await.append(&[second]).await.unwrap();
    assert_eq!(refused(&late[0]), Refusal::ImageNotFound, "and on another node");
    let read = world.store.history(&dentist.scope(), id, HistoryRange::After(0), 1).await.unwrap();
    assert_eq!(&read[0], message);
    // A retry returns the first result, although its picture is taken, and whatever picture it
    // names now.
    let again = Draft { id: new_id(), image: Some(Image::nameless()), ..first };
    let again = world.store.append(&[again]).await.unwrap();
    assert!(matches!(&again[0], Appended::Repeated(first) if first == message));

    let seen = world.uploads().upload(&dentist.scope(), id, &key).await.unwrap().unwrap();
    assert!(seen.shown && !seen.waiting && !seen.mine);
}

pub(super) async fn b39_b51_a_picture_is_its_uploaders_and_its_sessions(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (stranger, _, elsewhere) = world.pair().await;
    let key = noted(&world, id, &customer).await;
    let declined = world.uploads().note_upload(&stranger.scope(), &new_upload(id)).await.unwrap();
    assert_eq!(declined, Err(Declined::SessionNotFound));
    for (me, session_id) in [(&stranger, id), (&stranger, elsewhere), (&customer, elsewhere)] {
        assert_eq!(world.uploads().upload(&me.scope(), session_id, &key).await.unwrap(), None);
    }
    let others = [
        showing(id, &dentist, &key),
        showing(elsewhere, &stranger, &key),
        showing(id, &customer, &ImageKey::new(rand::random())),
        Draft { image: Some(Image::nameless()), ..showing(id, &customer, &key) },
    ];
    for appended in world.store.append(&others).await.unwrap() {
        assert_eq!(refused(&appended), Refusal::ImageNotFound);
    }
    let absent = world.store.append(&[showing(id, &stranger, &key)]).await.unwrap();
    assert_eq!(refused(&absent[0]), Refusal::SessionNotFound);
    assert!(world.uploads().upload(&customer.scope(), id, &key).await.unwrap().unwrap().waiting);

    for _ in 1..DAILY_MAX {
        noted(&world, id, &customer).await;
    }
    let declined = world.uploads().note_upload(&customer.scope(), &new_upload(id)).await.unwrap();
    assert_eq!(declined, Err(Declined::TooMany));
    let large = NewUpload { size: DAILY_BYTES_MAX, ..new_upload(id) };
    world.uploads().note_upload(&dentist.scope(), &large).await.unwrap().unwrap();
    let declined = world.uploads().note_upload(&dentist.scope(), &new_upload(id)).await.unwrap();
    assert_eq!(declined, Err(Declined::TooMany), "they are counted by their bytes too");
    assert!(world.execute("update uploads set size = 1").await);
    noted(&world, id, &dentist).await;
    assert!(world.execute("update sessions set status = 'closed'").await);
    let declined = world.uploads().note_upload(&dentist.scope(), &new_upload(id)).await.unwrap();
    assert_eq!(declined, Err(Declined::SessionClosed));
}

pub(super) async fn a_picture_that_no_message_shows_is_an_orphan(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (shown, waiting) = (noted(&world, id, &customer).await, noted(&world, id, &customer).await);
    let later = Timestamp::now() + 1.hour();
    let orphans = async || world.uploads().orphans(later, 10).await.unwrap();
    let object = |key: &ImageKey| (TenantId::MAIN, ObjectKey::new(id, key.clone()));
    assert_eq!(orphans().await, [object(&shown), object(&waiting)]);
    assert!(world.uploads().orphans(Timestamp::now() - 1.hour(), 10).await.unwrap().is_empty());
    let appended = world.store.append(&[showing(id, &customer, &shown)]).await.unwrap();
    let message = committed(&appended[0]);
    assert_eq!(orphans().await, [object(&waiting)]);
    // A picture that was sent meanwhile stays.
    world.uploads().forget_uploads(&[object(&shown), object(&waiting)], later).await.unwrap();
    assert_eq!(world.uploads().upload(&customer.scope(), id, &waiting).await.unwrap(), None);
    assert!(world.uploads().upload(&dentist.scope(), id, &shown).await.unwrap().unwrap().shown);
    // A deleted message shows no picture.
    let deleted =
        world.store.amend(&customer.scope(), id, message.id, &Amendment::Delete).await.unwrap();
    assert!(deleted.unwrap().message.image.is_none());
    let withdrawn = world.uploads().upload(&customer.scope(), id, &shown).await.unwrap().unwrap();
    assert!(!withdrawn.shown && !withdrawn.waiting, "nor can it be sent again");
    // Its objects are due for removal, and its row counts for the daily quota.
    let early = Timestamp::now() - 1.hour();
    let removable = async || world.uploads().orphans(early, 10).await.unwrap();
    assert_eq!(removable().await, [object(&shown)]);
    world.uploads().forget_uploads(&[object(&shown)], early).await.unwrap();
    assert!(removable().await.is_empty(), "they are gone");
    assert!(world.uploads().upload(&customer.scope(), id, &shown).await.unwrap().is_some());
    // Its URL may have stored objects again: they are removed once more.
    assert!(world.execute("update uploads set remove_at = created_at").await);
    assert_eq!(removable().await, [object(&shown)]);
    world.uploads().forget_uploads(&[object(&shown)], later).await.unwrap();
    assert!(orphans().await.is_empty());
}

pub(super) async fn an_upload_that_is_no_picture_is_removed_at_once(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let object = ObjectKey::new(id, noted(&world, id, &customer).await);
    let early = Timestamp::now() - 1.hour();
    assert!(world.uploads().orphans(early, 10).await.unwrap().is_empty());
    let another = Person { tenant: TenantId::new(2).unwrap(), ..customer.clone() };
    let namesake = Person { side: Side::Desk, ..customer.clone() };
    for other in [&another, &dentist, &namesake, &world::customer()] {
        world.uploads().refuse_upload(&other.scope(), id, object.image()).await.unwrap();
    }
    let elsewhere = SessionId(new_id());
    world.uploads().refuse_upload(&customer.scope(), elsewhere, object.image()).await.unwrap();
    let shown = noted(&world, id, &customer).await;
    committed(&world.store.append(&[showing(id, &customer, &shown)]).await.unwrap()[0]);
    world.uploads().refuse_upload(&customer.scope(), id, &shown).await.unwrap();
    assert_eq!(world.count("select count(*) from uploads where refused").await, 0);
    assert!(world.uploads().orphans(early, 10).await.unwrap().is_empty(), "it is not theirs");
    world.uploads().refuse_upload(&customer.scope(), id, object.image()).await.unwrap();
    // Another device of the same person may have checked it before.
    let late = world.store.append(&[showing(id, &customer, object.image())]).await.unwrap();
    assert_eq!(refused(&late[0]), Refusal::ImageNotFound);
    assert_eq!(world.uploads().orphans(early, 10).await.unwrap(), [(customer.tenant, object)]);
}
