//! The page after a backup was restored.

use frontdesk_test_support::Browser;

use super::{BOTH_LIVE, DENTIST, PATIENT, both_show, start};
use crate::{command_line::said, epoch::copy_database};

#[tokio::test]
async fn f32_the_page_shows_a_session_anew_whose_history_was_cut() {
    let (mut node, data) = start().await;
    let mut browser = Browser::start().await;
    let mut page = browser.open(&node.url("/")).await;
    page.until(BOTH_LIVE).await;
    PATIENT.send(&mut page, "kept").await;
    both_show(&mut page, &["kept"]).await;
    node.kill().await;
    let backup = tempfile::tempdir().unwrap();
    copy_database(data.path(), backup.path());
    node.restart().await;
    page.until(BOTH_LIVE).await;
    PATIENT.send(&mut page, "lost").await;
    DENTIST.send(&mut page, "lost too").await;
    both_show(&mut page, &["kept", "lost", "lost too"]).await;

    node.kill().await;
    copy_database(backup.path(), data.path());
    let env = [("DATA_DIR", data.path().to_str().unwrap())];
    assert_eq!(said(&["restored"], &env).await.0, Some(0));
    node.restart().await;
    both_show(&mut page, &["kept"]).await;
    page.until(BOTH_LIVE).await;
    PATIENT.send(&mut page, "new").await;
    both_show(&mut page, &["kept", "new"]).await;
}
