//! A clock that jumps, for one node: libfaketime tells it another time than the machine's.

use std::path::PathBuf;

use tempfile::TempDir;

/// What a node takes for the time, once it runs with [`Clock::variables`].
#[derive(Debug)]
pub struct Clock {
    dir: TempDir,
    library: PathBuf,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// One that is right, for now.
    #[must_use]
    pub fn new() -> Self {
        let found = std::fs::read_dir("/usr/lib").unwrap().filter_map(|entry| {
            let library = entry.ok()?.path().join("faketime/libfaketimeMT.so.1");
            library.exists().then_some(library)
        });
        let library = found.last().expect("libfaketime is not installed: scripts/test installs it");
        let clock = Self { dir: tempfile::tempdir().unwrap(), library };
        clock.be_off_by(0);
        clock
    }

    /// From now on it is so many seconds ahead, or behind where that is negative.
    pub fn be_off_by(&self, seconds: i64) {
        // In one step, as the node reads it all the time.
        let next = self.dir.path().join("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(next, self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("time")
    }

    /// What a node is told to go by it. Its timers go by the machine's, as after a jump of a real clock.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.path().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}
