//! The two text formats for scrapers.

use axum::http::{HeaderMap, header};

/// Text format of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus's older format, version 0.0.4, for tools that accept nothing else.
    Plain,
}

impl Format {
    /// Format that the scraper accepts. Prometheus names `OpenMetrics`, others name nothing.
    pub fn asked(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
        if accepted.is_some_and(|accepted| accepted.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Plain
        }
    }

    /// The header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Converts to the plain format: there a counter's family has the name of its one sample, and an info is a
/// gauge.
pub fn plain(openmetrics: &str) -> String {
    let mut plain = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The type comes next and decides the name.
            help = rest.split_once(' ').map(|(_, help)| help);
            continue;
        }
        if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            for part in ["# HELP ", name, suffix, " ", help.take().unwrap_or_default(), "\n"] {
                plain.push_str(part);
            }
            for part in ["# TYPE ", name, suffix, " ", kind, "\n"] {
                plain.push_str(part);
            }
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_format_names_a_counter_as_its_sample() {
        let openmetrics = "# HELP a_b What a is.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n\
             # HELP build Which.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n\
             # HELP c How many.\n# TYPE c gauge\nc 3\n# EOF\n";
        let expected = "# HELP a_b_total What a is.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n\
             # HELP build_info Which.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n\
             # HELP c How many.\n# TYPE c gauge\nc 3\n";
        assert_eq!(plain(openmetrics), expected);
    }

    #[test]
    fn who_asks_for_openmetrics_has_it() {
        let mut headers = HeaderMap::new();
        assert_eq!(Format::asked(&headers), Format::Plain);
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        headers.insert(header::ACCEPT, prometheus.parse().unwrap());
        assert_eq!(Format::asked(&headers), Format::OpenMetrics);
    }
}
