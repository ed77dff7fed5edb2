//! Parts of texts without blanks around them: one table of texts and queries, for both databases.

use super::{
    committed,
    search::{index_all, page, search, search_sorted},
    world::{Acting, Database, World, config, draft},
};
use crate::store::{Store, postgres::Postgres};
use model::{ids::SessionId, message::amend::Amendment, person::Person};

/// Texts of the messages, from message 1 on.
const TEXTS: [&str; 18] = [
    "我牙痛了三天,想预约星期三的牙医。",
    "歯が痛いので、明日の予約をお願いします。ﾌﾞﾗｯｼ 東京都",
    "ผมปวดฟันมาสามวันแล้ว อยากนัดหมอฟัน",
    "어제부터 치과에서 받은 치료가 아픕니다",
    "أحتاج إلى موعد مع طبيب الأسنان لأن سِنِّي تؤلمني",
    "כואבות לי השיניים",
    "ខ្ញុំឈឺធ្មេញ",
    "ຂ້ອຍເຈັບແຂ້ວ",
    "ကျွန်တော် သွားကိုက်နေတယ်",
    "Write to Anna.Mueller@example.com, please",
    "See https://shop.example.org/orders/view?ref=zahn_weh#top",
    "Call +49 (170) 123-4567 or 030/987654",
    "Order AB-12345 of 1,000 pieces, invoice RE2024001789",
    "iPhone手机 and MRI検査、ＣＴ２",
    "٠١٢٣٤٥٦٧٨٩",
    "The tooth aches at the café",
    "京都 and 東京 are two cities: 5 days, 12 nights",
    "dağ Straße naïve Ελλάδα Привет दाँत में दर्द",
];

/// Searches, with the messages that each finds.
const QUERIES: [(&str, &[u64]); 75] = [
    // Chinese: a word, a single character, a phrase over two words, and an absent one.
    ("牙痛", &[1]),
    ("牙", &[1]),
    ("星期三", &[1]),
    ("预约星期三的牙医", &[1]),
    ("牙医 三天", &[1]),
    ("牙天", &[]),
    ("痛", &[1, 2]),
    ("痛 -牙", &[2]),
    ("痛 -牙医", &[2]),
    ("手机", &[14]),
    // Japanese: kanji and kana, half-width kana, and no match across two words.
    ("歯", &[2]),
    ("予約", &[2]),
    ("お願い", &[2]),
    ("ブラッシ", &[2]),
    ("ﾌﾞﾗｯｼ", &[2]),
    ("東京", &[2, 17]),
    ("京都", &[2, 17]),
    ("東京都", &[2]),
    ("検査", &[14]),
    // Thai, Korean, Arabic, Hebrew, Khmer, Lao, Burmese.
    ("ปวดฟัน", &[3]),
    ("ฟัน", &[3]),
    ("หมอ", &[3]),
    ("ปวดหัว", &[]),
    ("치과", &[4]),
    ("치료", &[4]),
    ("치", &[4]),
    ("\u{110e}\u{1175}\u{1100}\u{116a}", &[4]),
    ("치킨", &[]),
    ("أسنان", &[5]),
    ("اسنان", &[5]),
    ("الأسنان", &[5]),
    ("والأسنان", &[5]),
    ("سني", &[5]),
    ("طبيب أسنان", &[5]),
    ("\"طبيب الأسنان\"", &[5]),
    ("\"طبيب سني\"", &[]),
    ("שיניים", &[6]),
    ("ធ្មេញ", &[7]),
    ("ແຂ້ວ", &[8]),
    ("သွား", &[9]),
    // Addresses and links, by their parts and as a whole.
    ("mueller", &[10]),
    ("anna", &[10]),
    ("example", &[10, 11]),
    ("example.com", &[10]),
    ("anna.mueller@example.com", &[10]),
    ("Mueller@Example", &[10]),
    ("shop.example.org", &[11]),
    ("https://shop.example.org/orders", &[11]),
    ("weh", &[11]),
    ("orders ref", &[11]),
    ("muell", &[]),
    // Numbers, with any of their separators and with none.
    ("4567", &[12, 15]),
    ("1701234567", &[12]),
    ("+49 170 1234567", &[12]),
    ("\"170 1234567\"", &[12]),
    ("170/1234567", &[12]),
    ("98765", &[12]),
    ("12345", &[12, 13, 15]),
    ("AB-12345", &[13]),
    ("ab 12345", &[13]),
    ("1000", &[13]),
    ("1.000", &[13]),
    ("RE2024001789", &[13]),
    ("2024001789", &[13]),
    ("345678", &[15]),
    ("٣٤٥٦", &[12, 15]),
    ("5", &[17]),
    ("12", &[17]),
    ("7", &[]),
    // Words of more than one script, and of full width.
    ("MRI検査", &[14]),
    ("iphone手机", &[14]),
    ("ct2", &[14]),
    // All other words are found only as a whole.
    ("tooth CAFE", &[16]),
    ("too", &[]),
    ("दर्द привет", &[18]),
];

async fn written(world: &World) -> (Person, SessionId) {
    let (customer, _, id) = world.pair().await;
    let drafts: Vec<_> = TEXTS.iter().map(|text| draft(id, &customer, text)).collect();
    world.store.append(&drafts).await.unwrap();
    (customer, id)
}

async fn finds_all(store: &dyn Store, me: &Person, when: &str) {
    for (typed, seqs) in QUERIES {
        assert_eq!(search_sorted(store, me, typed).await, seqs, "{typed} {when}");
    }
}

pub(super) async fn a_part_of_a_text_is_found_in_every_script(world: World) {
    let (customer, _) = written(&world).await;
    finds_all(&*world.store, &customer, "before it is indexed").await;
    index_all(&*world.store).await;
    finds_all(&*world.store, &customer, "once it is indexed").await;
    // The snippet marks the hit itself.
    for (typed, hits) in [
        ("牙", &["牙", "牙"][..]),
        ("预约星期三", &["预约星期三"]),
        ("ブラッシ", &["ﾌﾞﾗｯｼ"]),
        ("ปวดฟัน", &["ปวดฟัน"]),
        ("치과", &["치과"]),
        ("والأسنان", &["أسنان"]),
        ("سني", &["سِنِّي"]),
        ("mueller", &["Mueller"]),
        ("example.org", &["example", "org"]),
        ("1701234567", &["170) 123-4567"]),
        ("2345 RE2024001789", &["2345", "RE2024001789"]),
        ("iphone手机", &["iPhone", "手机"]),
    ] {
        let found = page(&*world.store, &customer, typed, 0, 10).await;
        let shown: Vec<_> = found[0].snippet.iter().filter(|piece| piece.hit).collect();
        assert_eq!(
            shown.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>(),
            hits,
            "{typed}"
        );
    }
}

/// The language of the other words does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_text_is_found_whatever_the_language() {
    let world = World::on_postgres().await;
    let Database::Postgres(database) = &world.database else { panic!() };
    for language in ["english", "arabic"] {
        let store =
            Postgres::open(&config(database), language, db::counts::DatabaseCounts::default())
                .await
                .unwrap();
        let (customer, _) = written(&world).await;
        finds_all(&store, &customer, language).await;
        index_all(&store).await;
        finds_all(&store, &customer, language).await;
    }
}

/// No pair or group of digits of a text stays in the index after an edit or a deletion.
pub(super) async fn a_changed_part_of_a_text_is_found_no_more(world: World) {
    let (customer, _, id) = world.pair().await;
    let store = &*world.store;
    let drafts = ["牙痛 5551234", "手机 5559876"].map(|text| draft(id, &customer, text));
    let appended = store.append(&drafts).await.unwrap();
    let [first, second] = [0, 1].map(|at| committed(&appended[at]).id);
    index_all(store).await;
    let edit = Amendment::Edit("牙医 5550000".to_owned().try_into().unwrap());
    store.amend(&customer.scope(), id, first, &edit).await.unwrap().unwrap();
    store.amend(&customer.scope(), id, second, &Amendment::Delete).await.unwrap().unwrap();
    for _ in 0..2 {
        assert_eq!(search(store, &customer, "牙医").await, [1]);
        assert_eq!(search(store, &customer, "555").await, [1]);
        for gone in ["痛", "牙痛", "1234", "手机", "9876"] {
            assert!(search(store, &customer, gone).await.is_empty(), "{gone}");
        }
        index_all(store).await;
        again(store).await;
    }
    let left = match world.database {
        Database::Postgres(_) => {
            "select count(*) from messages where search @@ '''y123'' | ''y987'''"
        }
        Database::Sqlite(..) => {
            "select count(*) from message_search where message_search match 'y123 OR y987'"
        }
    };
    assert_eq!(world.count(left).await, 0, "nothing is left in the index");
}

/// Indexes again all messages that an earlier version indexed. Returns how many.
async fn again(store: &dyn Store) -> u32 {
    let mut messages = 0;
    loop {
        let indexed = store.index_again(4).await.unwrap();
        assert!(!indexed.too_costly && indexed.given_up == 0);
        if indexed.messages == 0 {
            return messages;
        }
        messages += indexed.messages;
    }
}

/// Indexes waiting messages as an earlier version did.
async fn index_as_before(world: &World, id: SessionId) {
    let index = match world.database {
        Database::Postgres(_) => {
            "begin; update messages m set search = \
               to_tsvector('frontdesk', regexp_replace(m.body, '[^[:alnum:]]+', ' ', 'g')) \
             from search_queue q where m.session_id = q.session_id and m.seq = q.seq; \
             delete from search_queue; commit"
        }
        Database::Sqlite(..) => {
            "begin; insert into message_search (rowid, body) select m.rowid, m.body from messages m \
             join search_queue q on q.message = m.rowid where not m.bodiless; \
             delete from search_queue; commit"
        }
    };
    world.queue_texts(id).await;
    assert!(world.execute(index).await);
}

/// Law I12.
pub(super) async fn i12_what_the_version_before_indexes_is_indexed_again(world: World) {
    let (customer, id) = written(&world).await;
    // State before the migration: no row marks them as indexed by an earlier version.
    index_as_before(&world, id).await;
    assert!(world.execute("delete from search_again").await);
    let store = &*world.store;
    assert_eq!(search(store, &customer, "tooth").await, [16], "meanwhile by its words");
    assert_eq!(search(store, &customer, "mueller").await, [10]);
    assert!(search(store, &customer, "牙痛").await.is_empty());
    // Two nodes at once.
    let node = world.another_node().await;
    tokio::join!(again(store), again(&*node));
    again(store).await;
    finds_all(store, &customer, "after the migration").await;
    assert_eq!(again(store).await, 0, "it is at its end");
    // Beside nodes of this version.
    let (customer, id) = written(&world).await;
    index_as_before(&world, id).await;
    assert!(search(store, &customer, "牙痛").await.is_empty());
    assert_eq!(u64::from(again(store).await), TEXTS.len() as u64);
    finds_all(store, &customer, "beside the version before").await;
    // The earlier version changes a text that this one has indexed.
    let edit = "update messages set body = 'my bridge 555', edited_at = created_at";
    assert!(world.execute(&format!("{edit} where session_id = '{}' and seq = 1", id.0)).await);
    assert!(search(store, &customer, "牙痛").await.is_empty());
    assert_eq!(search(store, &customer, "bridge").await, [1]);
}
