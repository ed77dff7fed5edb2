use super::*;
use crate::store::contract::world::{customer, draft};
use model::{
    ids::{SessionId, TenantId},
    person::Side,
};
use platform::new_id;

/// A queue with its own clock.
struct Desk {
    backlog: Backlog,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        Self { backlog: Backlog::default(), now: Instant::now() }
    }

    fn send(&mut self, id: SessionKey, sender: &Person, body: &str) -> bool {
        self.backlog.admit(draft(id.id, sender, body), None, self.now).is_some()
    }

    fn take(&mut self, lane: Lane) -> Vec<Job> {
        match self.backlog.next(lane, self.now) {
            Next::Commit(batch) => batch,
            _ => Vec::new(),
        }
    }

    /// Commits the next batch; returns its bodies.
    fn commit(&mut self, lane: Lane) -> Vec<String> {
        let batch = self.take(lane);
        let bodies = bodies(&batch);
        for job in &batch {
            self.backlog.decided(&job.draft);
        }
        self.backlog.committed(lane, &HashSet::new(), self.now);
        self.backlog.landed(lane);
        bodies
    }

    fn fail(&mut self, lane: Lane, batch: Vec<Job>) {
        self.backlog.failed(lane, batch.len(), self.now);
        self.backlog.put_back(batch);
        self.backlog.landed(lane);
    }
}

fn bodies(batch: &[Job]) -> Vec<String> {
    let body = |job: &Job| job.draft.body.as_ref().map(|body| body.as_str().to_owned());
    batch.iter().filter_map(body).collect()
}

fn session() -> SessionKey {
    TenantId::MAIN.session(SessionId(new_id()))
}

fn of<'a>(batch: &'a [Job], sender: &Person) -> Vec<&'a Job> {
    batch.iter().filter(|job| job.draft.sender == *sender).collect()
}

#[test]
fn one_sender_and_one_session_have_a_share_of_a_batch_where_others_wait() {
    let mut desk = Desk::new();
    let (flooder, busy) = (customer(), session());
    for number in 0..500 {
        // By one sender into many sessions, and by many senders into one session.
        assert!(desk.send(session(), &flooder, &number.to_string()));
        assert!(desk.send(busy, &customer(), "busy"));
    }
    let quiet = customer();
    assert!(desk.send(session(), &quiet, "quiet"));
    let batch = desk.take(Lane::Main);
    assert_eq!(of(&batch, &quiet).len(), 1, "it is in the first batch");
    assert_eq!(of(&batch, &flooder).len(), BATCH_OF_SENDER);
    let of_busy = batch.iter().filter(|job| job.draft.session() == busy);
    assert_eq!(of_busy.count(), BATCH_OF_SESSION);
}

#[test]
fn who_is_alone_has_the_whole_batch_in_order() {
    let mut desk = Desk::new();
    let (sender, id) = (customer(), session());
    for number in 0..300 {
        desk.send(id, &sender, &number.to_string());
    }
    let mut committed = desk.commit(Lane::Main);
    assert_eq!(committed.len(), BATCH);
    committed.extend(desk.commit(Lane::Main));
    assert_eq!(committed, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn i8_neither_a_sender_nor_a_session_fills_the_queue_alone() {
    let mut desk = Desk::new();
    let (flooder, busy) = (customer(), session());
    let taken = (0..QUEUE).filter(|_| desk.send(session(), &flooder, "x")).count();
    assert_eq!(taken, QUEUE_OF_SENDER);
    let taken = (0..QUEUE).filter(|_| desk.send(busy, &customer(), "x")).count();
    assert_eq!(taken, QUEUE_OF_SESSION);
    assert!(desk.send(session(), &customer(), "others have room"));
    let taken = (0..QUEUE).filter(|_| desk.send(session(), &customer(), "x")).count();
    assert_eq!(taken, QUEUE - QUEUE_OF_SENDER - QUEUE_OF_SESSION - 1, "it is bounded");
    // A send under way counts until it is decided.
    let batch = desk.take(Lane::Main);
    assert!(!desk.send(session(), &customer(), "x"));
    desk.backlog.decided(&batch[0].draft);
    assert!(desk.send(session(), &customer(), "x"));
}

#[test]
fn a_locked_session_waits_in_order_and_the_others_are_taken() {
    let mut desk = Desk::new();
    let (sender, locked, free) = (customer(), session(), session());
    desk.send(locked, &sender, "1");
    desk.send(free, &sender, "a");
    let batch = desk.take(Lane::Main);
    assert_eq!(bodies(&batch), ["1", "a"]);
    desk.send(locked, &sender, "2");
    let (of_locked, _) = batch.into_iter().partition(|job| job.draft.session() == locked);
    desk.backlog.committed(Lane::Main, &HashSet::from([locked]), desk.now);
    desk.backlog.put_back(of_locked);
    desk.backlog.landed(Lane::Main);
    desk.send(free, &sender, "b");
    assert_eq!(desk.commit(Lane::Main), ["b"], "later sends of the session do not overtake");
    let Next::Wait(Some(due)) = desk.backlog.next(Lane::Main, desk.now) else { panic!("no wait") };
    assert!(due < desk.now + Duration::from_millis(100), "it is tried again soon");
    desk.now = due;
    assert_eq!(desk.commit(Lane::Main), ["1", "2"]);
    assert_eq!(desk.backlog.troubled(), 0);
}

#[test]
fn halving_finds_the_bad_one_while_the_main_lane_goes_on() {
    let mut desk = Desk::new();
    let (guilty, sender) = (session(), customer());
    for number in 0..100 {
        let bad = number == 37;
        let (id, body) = if bad { (guilty, "bad") } else { (session(), "good") };
        desk.send(id, &customer(), body);
    }
    desk.send(guilty, &sender, "after it");
    let batch = desk.take(Lane::Main);
    assert_eq!(batch.len(), 101);
    desk.fail(Lane::Main, batch);
    let (mut committed, mut failures) = (0, 0);
    while committed < 99 {
        desk.send(session(), &sender, "new");
        assert_eq!(desk.commit(Lane::Main), ["new"]);
        let batch = desk.take(Lane::Apart);
        let is_bad = bodies(&batch).contains(&"bad".to_owned());
        assert!(!batch.is_empty());
        if is_bad {
            failures += 1;
            desk.fail(Lane::Apart, batch);
        } else {
            committed += batch.len();
            for job in &batch {
                desk.backlog.decided(&job.draft);
            }
            desk.backlog.committed(Lane::Apart, &HashSet::new(), desk.now);
            desk.backlog.landed(Lane::Apart);
        }
    }
    assert!(failures <= 12, "{failures} failures");
    while !desk.backlog.troubles.values().all(Trouble::is_guilty) {
        let batch = desk.take(Lane::Apart);
        desk.fail(Lane::Apart, batch);
    }
    // It is tried alone from now on. Later sends of its session wait for it.
    assert!(desk.take(Lane::Apart).is_empty(), "not at once");
    desk.now += Duration::from_secs(1);
    let batch = desk.take(Lane::Apart);
    assert_eq!(bodies(&batch), ["bad"]);
    desk.backlog.decided(&batch[0].draft);
    desk.backlog.committed(Lane::Apart, &HashSet::new(), desk.now);
    desk.backlog.landed(Lane::Apart);
    assert_eq!(desk.commit(Lane::Apart), ["after it"]);
    // Its next send may fail too: it stays apart for a while.
    desk.send(guilty, &sender, "later");
    assert!(desk.take(Lane::Main).is_empty());
    desk.now += Duration::from_secs(60);
    assert_eq!(desk.commit(Lane::Apart), ["later"]);
    assert_eq!(desk.backlog.troubled(), 0, "all is well for long enough");
}

#[test]
fn a_sessions_sends_are_on_one_lane_at_a_time() {
    let mut desk = Desk::new();
    let (id, sender) = (session(), customer());
    desk.send(id, &sender, "1");
    let batch = desk.take(Lane::Main);
    desk.fail(Lane::Main, batch);
    let apart = desk.take(Lane::Apart);
    assert_eq!(bodies(&apart), ["1"]);
    desk.send(id, &sender, "2");
    assert!(desk.take(Lane::Main).is_empty());
    desk.backlog.decided(&apart[0].draft);
    desk.backlog.committed(Lane::Apart, &HashSet::new(), desk.now);
    assert!(desk.take(Lane::Main).is_empty(), "it is under way still");
    desk.backlog.landed(Lane::Apart);
    assert_eq!(desk.commit(Lane::Main), ["2"]);
}

#[test]
fn two_tries_of_one_send_are_never_in_one_batch() {
    let mut desk = Desk::new();
    let first =
        draft(session().id, &Person::new(TenantId::MAIN, Side::Desk, "7".parse().unwrap()), "x");
    for _ in 0..2 {
        desk.backlog.admit(first.clone(), None, desk.now);
    }
    assert_eq!(desk.commit(Lane::Main).len(), 1);
    assert_eq!(desk.commit(Lane::Main).len(), 1);
}

#[test]
fn what_waits_too_long_is_late_and_a_closed_queue_ends_once_all_is_decided() {
    let mut desk = Desk::new();
    desk.send(session(), &customer(), "early");
    desk.now += Duration::from_secs(5);
    desk.send(session(), &customer(), "later");
    assert!(desk.backlog.overdue(desk.now).is_empty());
    desk.now += Duration::from_secs(3);
    let late = desk.backlog.overdue(desk.now);
    assert_eq!(bodies(&late), ["early"]);
    desk.backlog.close();
    assert!(!desk.send(session(), &customer(), "too late"));
    desk.backlog.decided(&late[0].draft);
    assert!(matches!(desk.backlog.next(Lane::Apart, desk.now), Next::Wait(_)));
    assert_eq!(desk.commit(Lane::Main), ["later"]);
    for lane in Lane::ALL {
        assert!(matches!(desk.backlog.next(lane, desk.now), Next::End));
    }
}
