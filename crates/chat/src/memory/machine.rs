//! Memory that this process may use: the limit of its cgroup, or the machine's memory.

use std::{fs, path::Path};

/// Limits from here on mean no limit: version 1 of cgroups writes a number near 2^63.
const NO_LIMIT: u64 = 1 << 60;

/// Memory in bytes, with its source; `None` if it is unknown.
pub(super) fn memory() -> Option<(u64, &'static str)> {
    memory_by(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
}

fn memory_by(proc: &Path, cgroups: &Path) -> Option<(u64, &'static str)> {
    let machine = of_machine(&fs::read_to_string(proc.join("meminfo")).unwrap_or_default());
    let own = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let limit = own.lines().filter_map(|line| of_cgroup(line, cgroups)).min();
    match (limit, machine) {
        (Some(limit), machine) if machine.is_none_or(|machine| limit < machine) => {
            Some((limit, "cgroup"))
        }
        (_, machine) => machine.map(|bytes| (bytes, "machine")),
    }
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// Smallest limit of a line's cgroup and its ancestors: `0::/a/b`, or `5:memory:/a/b`.
fn of_cgroup(line: &str, root: &Path) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (root, file) = match fields.next()? {
        "" => (root.to_owned(), "memory.max"),
        controllers if controllers.split(',').any(|name| name == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let path = fields.next()?.trim_start_matches('/');
    // A container sees its own cgroup at the root, whatever its path outside is.
    let own = root.join(path);
    let around = own.ancestors().take_while(|folder| folder.starts_with(&root));
    around
        .filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok())
        .filter(|limit| *limit < NO_LIMIT)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory on a machine of 8 GiB, with the process in this cgroup and these files of limits.
    fn machine(own: &str, limits: &[(&str, &str)]) -> Option<(u64, &'static str)> {
        let folder = tempfile::tempdir().unwrap();
        let (proc, cgroups) = (folder.path().join("proc"), folder.path().join("cgroup"));
        fs::create_dir_all(proc.join("self")).unwrap();
        fs::write(proc.join("meminfo"), "MemTotal:       8388608 kB\nMemFree: 1 kB\n").unwrap();
        fs::write(proc.join("self/cgroup"), own).unwrap();
        for (file, limit) in limits {
            let file = cgroups.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{limit}\n")).unwrap();
        }
        memory_by(&proc, &cgroups)
    }

    #[test]
    fn the_smallest_limit_around_the_process_counts() {
        const MIB: u64 = 1 << 20;
        let all = (8_192 * MIB, "machine");
        let half = (512 * MIB, "cgroup");
        assert_eq!(machine("", &[]), Some(all));
        assert_eq!(machine("0::/\n", &[("memory.max", "max")]), Some(all));
        assert_eq!(machine("0::/\n", &[("memory.max", "536870912")]), Some(half));
        let nested = [("a/memory.max", "536870912"), ("a/b/memory.max", "max")];
        assert_eq!(machine("0::/a/b\n", &nested), Some(half));
        // A path in another namespace.
        assert_eq!(machine("0::/docker/x\n", &[("memory.max", "536870912")]), Some(half));
        let first = [
            ("memory/memory.limit_in_bytes", "9223372036854771712"),
            ("memory/a/memory.limit_in_bytes", "536870912"),
        ];
        assert_eq!(machine("5:cpu,memory:/a\n4:pids:/x\n0::/\n", &first), Some(half));
        assert_eq!(machine("5:memory:/\n", &first), Some(all));
        assert_eq!(machine("0::/\n", &[("memory.max", "99999999999999")]), Some(all));
    }
}
