//! Stories: what people notice, against the real binary and real servers.

#[tokio::test]
async fn nothing_yet() {}
