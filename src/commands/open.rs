//! Opening a session: `POST /api/chats`.

use std::num::NonZeroU32;

use crate::{
    app::App,
    error::Error,
    person::{Person, PersonId, PersonKind},
    session::{Member, Session, SessionId},
    store::NewSession,
    wire::{broadcast::Broadcast, new_id},
};

/// Opens a session between `me` and `other`, or finds the open one. Also returns whether it is new.
pub(crate) async fn run(app: &App, me: &Person, other: Person) -> Result<(Session, bool), Error> {
    // An open session is found without the directory, which may be unavailable.
    let (customer, dentist) =
        if me.kind == PersonKind::Customer { (&me.id, &other.id) } else { (&other.id, &me.id) };
    if let Some(id) = app.store.open_between(customer, dentist).await? {
        let session = app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
        return Ok((session, false));
    }
    // The limit counts before any look-up: each refusal would reveal whether someone exists.
    app.limits.open(me)?;
    if me.kind == PersonKind::Customer {
        may_wait(app, &me.id).await?;
    }
    // The same look-up, and so the same answer, for people whom `me` may not talk to and for unknown people.
    if !app.people.may_talk(customer, dentist).await? {
        return Err(Error::PersonNotFound);
    }
    let mine = known(app, me).await?;
    let theirs = known(app, &other).await?;
    let (customer, dentist) =
        if me.kind == PersonKind::Customer { (mine, theirs) } else { (theirs, mine) };
    let new = NewSession { id: SessionId(new_id()), customer, dentist };
    let (id, opened) = app.store.open_session(&new).await?;
    let session = app.store.session(me, id).await?.ok_or(Error::SessionNotFound)?;
    if opened {
        // Each side's inbox receives its own view. The session is empty, so both views are alike.
        app.bus.publish(Broadcast::session_new(me.clone(), &session));
        app.bus.publish(Broadcast::session_new(other, &session));
    }
    Ok((session, opened))
}

/// Whether this customer may open one more session without an answer. Dentists are not limited: many of
/// their sessions need no answer, and they close finished ones.
async fn may_wait(app: &App, customer: &PersonId) -> Result<(), Error> {
    let Some(limit) = app.limits.unanswered().map(NonZeroU32::get) else { return Ok(()) };
    if app.store.unanswered(customer, limit).await? < limit {
        return Ok(());
    }
    Err(app.limits.refuse_unanswered())
}

async fn known(app: &App, person: &Person) -> Result<Member, Error> {
    let entry = app.people.look_up(person).await?.ok_or(Error::PersonNotFound)?;
    let (name, avatar_url) = (entry.name.clone(), entry.avatar_url.clone());
    Ok(Member { person: person.clone(), name, avatar_url, email: None })
}
