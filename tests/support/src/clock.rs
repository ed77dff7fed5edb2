//! A clock of one node that a test can set forward or back, by libfaketime.

use std::path::PathBuf;

use tempfile::TempDir;

/// Settings of libfaketime for a node started with [`Clock::variables`].
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
    /// A clock that shows the right time.
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

    /// Sets the offset from the right time in seconds; a negative one lies in the past.
    pub fn be_off_by(&self, seconds: i64) {
        // The file is replaced atomically, because the node reads it all the time.
        let next = self.dir.path().join("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(next, self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("time")
    }

    /// Variables of a node that uses this clock. Its timers stay monotonic, as after a jump of a
    /// real clock.
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
