//! The process as Linux reports it, with the names that every Prometheus client uses.

use procfs::{ProcResult, boot_time_secs, page_size, process, ticks_per_second};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Reads the values at each scrape.
#[derive(Debug)]
pub struct Resources;

struct Seen {
    cpu_secs: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_fds: u64,
    max_fds: Option<u64>,
    started_at: f64,
}

#[expect(clippy::cast_precision_loss, reason = "what is told is a float")]
fn see() -> ProcResult<Seen> {
    let me = process::Process::myself()?;
    let stat = me.stat()?;
    let secs = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
    let max_fds = match me.limits()?.max_open_files.soft_limit {
        process::LimitValue::Value(limit) => Some(limit),
        process::LimitValue::Unlimited => None,
    };
    Ok(Seen {
        cpu_secs: secs(stat.utime + stat.stime),
        resident_bytes: stat.rss * page_size(),
        virtual_bytes: stat.vsize,
        open_fds: me.fd_count()? as u64,
        max_fds,
        started_at: boot_time_secs()? as f64 + secs(stat.starttime),
    })
}

impl Collector for Resources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        // If `/proc` is hidden from the process, nothing is exported.
        let Ok(seen) = see() else { return Ok(()) };
        let cpu = "CPU time of the process, user and system";
        ConstCounter::new(seen.cpu_secs).encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            cpu,
            None,
            MetricType::Counter,
        )?)?;
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory", Some(seen.resident_bytes)),
            ("process_virtual_memory_bytes", "Virtual memory", Some(seen.virtual_bytes)),
            ("process_open_fds", "Open file descriptors", Some(seen.open_fds)),
            ("process_max_fds", "Maximum number of open file descriptors", seen.max_fds),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value.and_then(|value| i64::try_from(value).ok()) else { continue };
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        let help = "Start time of the process, since 1970";
        let name = "process_start_time_seconds";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(seen.started_at).encode(metric)
    }
}
