//! Parsers of bytes from outside, and properties that hold for any input. `fuzz/` uses them, and a test that
//! replays the fuzzers' corpus.
//!
//! Each function is beside the code that it checks, so that no item has to be more visible for it.

pub use bus::fuzz::envelopes;
#[cfg(feature = "embedded")]
pub use chat::store::sqlite::fuzz::searches;
pub use gateway::{
    http::fuzz::{bodies, queries},
    limits::fuzz::addresses,
};
pub use identity::auth::fuzz::tokens;
pub use media::fuzz::pictures;
pub use protocol::fuzz::{frames, packets};

/// A name of any kind.
pub fn names(bytes: &[u8]) {
    media::fuzz::names(bytes);
    protocol::fuzz::names(bytes);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    type Target = (&'static str, fn(&[u8]));

    #[test]
    fn what_the_fuzzers_have_kept_goes_well() {
        let targets: [Target; _] = [
            ("addresses", addresses),
            ("bodies", bodies),
            ("envelopes", envelopes),
            ("frames", frames),
            ("names", names),
            ("packets", packets),
            ("pictures", pictures),
            ("queries", queries),
            #[cfg(feature = "embedded")]
            ("searches", searches),
            #[cfg(feature = "embedded")]
            ("tokens", tokens),
        ];
        for (name, target) in targets {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let seeds = fs::read_dir(&corpus).expect("a target has a corpus");
            let seeds: Vec<_> = seeds.map(|seed| seed.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "{name}");
            for seed in seeds {
                target(&fs::read(seed).unwrap());
            }
        }
    }
}
