//! Opening a session: `POST /api/chats`.

use crate::{
    app::App,
    error::Error,
    person::{Person, PersonKind},
    session::{Member, Session, SessionId},
    store::NewSession,
    wire::{broadcast::Broadcast, new_id},
};

/// Opens a session between `me` and `other`, or finds the open one; and whether it is new.
pub(crate) async fn run(app: &App, me: &Person, other: Person) -> Result<(Session, bool), Error> {
    // An open one is found without the directory, which may be away.
    let (customer, dentist) =
        if me.kind == PersonKind::Customer { (&me.id, &other.id) } else { (&other.id, &me.id) };
    if let Some(id) = app.store.open_between(customer, dentist).await? {
        let session = app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
        return Ok((session, false));
    }
    let mine = known(app, me).await?;
    let theirs = known(app, &other).await?;
    let (customer, dentist) =
        if me.kind == PersonKind::Customer { (mine, theirs) } else { (theirs, mine) };
    let new = NewSession { id: SessionId(new_id()), customer, dentist };
    let (id, opened) = app.store.open_session(&new).await?;
    let session = app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
    if opened {
        // Each side's inbox hears of it as that side sees it; both are empty still, so alike.
        app.bus.publish(Broadcast::session_new(me.clone(), &session));
        app.bus.publish(Broadcast::session_new(other, &session));
    }
    Ok((session, opened))
}

async fn known(app: &App, person: &Person) -> Result<Member, Error> {
    let entry = app.people.look_up(person).await?.ok_or(Error::PersonNotFound)?;
    let (name, avatar_url) = (entry.name.clone(), entry.avatar_url.clone());
    Ok(Member { person: person.clone(), name, avatar_url, email: None })
}
