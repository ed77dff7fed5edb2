//! Limit of file descriptors of this process, if the system reports it.

/// This number, or a quarter of the descriptors if that is less: sockets and databases need the others.
pub(super) fn share(most: usize) -> usize {
    soft_limit().map_or(most, |limit| most.min(limit / 4)).max(1)
}

#[cfg(target_os = "linux")]
fn soft_limit() -> Option<usize> {
    use procfs::process::{LimitValue, Process};
    match Process::myself().and_then(|me| me.limits()).ok()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => limit.try_into().ok(),
        LimitValue::Unlimited => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn soft_limit() -> Option<usize> {
    None
}
