//! Variables of traces, with the standard names of OpenTelemetry.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use crate::variables::{ConfigError, Variables};

/// Export of traces, and sampling.
#[derive(Clone, Debug)]
pub struct TracesConfig {
    /// Complete URL.
    pub endpoint: String,
    /// Headers that the collector requires, such as a key.
    pub headers: Vec<(String, SecretString)>,
    /// Time limit for the export of a batch.
    pub timeout: Duration,
    /// Name of this service in traces.
    pub service_name: String,
    /// Further resource attributes of each batch.
    pub resource: Vec<(String, String)>,
    /// Share of the traces begun here that is sampled.
    pub ratio: f64,
    /// Whether a trusted caller's sampling decision counts.
    pub is_parent_based: bool,
    /// Callers whose sampling decision counts.
    pub trusted: Vec<IpNet>,
}

const DEFAULT_SERVICE_NAME: &str = "frontdesk";
/// All traces of a busy node would be larger than its messages.
const DEFAULT_RATIO: f64 = 0.01;

impl TracesConfig {
    /// Host name of the collector. A vendor's path may hold a key.
    pub fn collector(&self) -> String {
        let url = reqwest::Url::parse(&self.endpoint).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// `None` if no traces are exported.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let Some(endpoint) = endpoint(variables)? else { return Ok(None) };
        let exporter = variables.text("OTEL_TRACES_EXPORTER").unwrap_or("otlp");
        if !matches!(exporter, "otlp" | "none") {
            return Err(Variables::error("OTEL_TRACES_EXPORTER", "must be otlp or none"));
        }
        let (ratio, is_parent_based) = sampler(variables)?;
        let is_off = variables.flag("OTEL_SDK_DISABLED")? || exporter == "none";
        if is_off || (ratio == 0.0 && !is_parent_based) {
            return Ok(None);
        }
        for variable in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
            if variables.text(variable).is_some_and(|protocol| protocol != "http/protobuf") {
                let problem = "must be http/protobuf; collectors accept it on port 4318";
                return Err(Variables::error(variable, problem));
            }
        }
        let resource = pairs(variables, "OTEL_RESOURCE_ATTRIBUTES")?;
        let name = resource.iter().find(|(key, _)| key == "service.name");
        let name = name.map_or(DEFAULT_SERVICE_NAME, |(_, name)| name);
        Ok(Some(Self {
            endpoint,
            headers: headers(variables)?,
            timeout: variables.millis("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, 100..=60_000)?,
            service_name: variables.text("OTEL_SERVICE_NAME").unwrap_or(name).to_owned(),
            resource,
            ratio,
            is_parent_based,
            trusted: variables.networks("TRUSTED_TRACERS")?,
        }))
    }
}

/// The traces' endpoint as it is, or the general endpoint with the path of traces.
fn endpoint(variables: &Variables) -> Result<Option<String>, ConfigError> {
    let of_all = variables.url("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    let of_traces = variables.url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")?;
    Ok(of_traces.or_else(|| of_all.map(|url| format!("{url}/v1/traces"))))
}

/// Sampling ratio, and whether a caller may decide.
fn sampler(variables: &Variables) -> Result<(f64, bool), ConfigError> {
    let (name, argument) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
    let ratio = variables.number(argument, DEFAULT_RATIO, 0.0..=1.0, "a part of all traces")?;
    match variables.text(name).unwrap_or("parentbased_traceidratio") {
        "always_on" => Ok((1.0, false)),
        "always_off" => Ok((0.0, false)),
        "traceidratio" => Ok((ratio, false)),
        "parentbased_always_on" => Ok((1.0, true)),
        "parentbased_always_off" => Ok((0.0, true)),
        "parentbased_traceidratio" => Ok((ratio, true)),
        _ => {
            let problem = "must be always_on, always_off or traceidratio, alone or with the prefix parentbased_";
            Err(Variables::error(name, problem))
        }
    }
}

/// Errors do not contain the value, which is a secret.
fn headers(variables: &Variables) -> Result<Vec<(String, SecretString)>, ConfigError> {
    let (of_all, of_traces) = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS");
    let variable = if variables.text(of_traces).is_some() { of_traces } else { of_all };
    let check = |(name, value): (String, String)| {
        let is_header = name.parse::<HeaderName>().is_ok() && HeaderValue::from_str(&value).is_ok();
        let problem = "must be a list of headers like api-key=secret,tenant=practice";
        is_header.then(|| (name, value.into())).ok_or_else(|| Variables::error(variable, problem))
    };
    pairs(variables, variable)?.into_iter().map(check).collect()
}

/// Parses `name=value,name=value` with percent-encoded values.
fn pairs(variables: &Variables, variable: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let pair = |item: &String| {
        let (name, value) = item.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value))
    };
    let problem = "must be a list like name=value,name=value, with %20 for a blank";
    let wrong = || Variables::error(variable, problem);
    variables.list(variable).iter().map(|item| pair(item).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::variables::Variables;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    fn read(values: &[(&str, &str)]) -> Result<Option<TracesConfig>, ConfigError> {
        TracesConfig::read(&Variables::of(values))
    }

    fn traces(more: &[(&str, &str)]) -> Option<TracesConfig> {
        read(&[&[ENDPOINT], more].concat()).unwrap()
    }

    #[test]
    fn traces_are_told_where_a_collector_is_named() {
        assert!(read(&[("OTEL_SERVICE_NAME", "desk")]).unwrap().is_none());
        let config = traces(&[]).unwrap();
        assert_eq!(config.endpoint, "http://collector:4318/v1/traces");
        assert_eq!((config.service_name.as_str(), config.ratio), ("frontdesk", 0.01));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/in");
        assert_eq!(traces(&[own]).unwrap().endpoint, "https://traces.example/in");
        for off in [
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
        ] {
            assert!(traces(&[off]).is_none(), "{off:?}");
        }
    }

    #[test]
    fn a_service_has_a_name_and_what_else_is_said_of_it() {
        let all =
            [("OTEL_RESOURCE_ATTRIBUTES", "service.name=desk, deployment.environment.name=a%20b")];
        let config = traces(&all).unwrap();
        assert_eq!(config.service_name, "desk");
        assert_eq!(config.resource[1].1, "a b");
        let named = [all[0], ("OTEL_SERVICE_NAME", "front")];
        assert_eq!(traces(&named).unwrap().service_name, "front");
    }

    #[test]
    fn a_sampler_is_a_ratio_and_whose_word_counts() {
        let of = |name, argument| {
            let set = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            traces(&set).map(|config| (config.ratio, config.is_parent_based))
        };
        assert_eq!(of("", "0.5"), Some((0.5, true)));
        assert_eq!(of("traceidratio", "0.25"), Some((0.25, false)));
        assert_eq!(of("parentbased_always_off", ""), Some((0.0, true)));
        assert_eq!(of("always_on", ""), Some((1.0, false)));
    }

    #[test]
    fn i14_a_wrong_variable_is_named_and_a_header_is_not_told() {
        let secret = "api-key=hunter%202,x-tenant=practice";
        let config = traces(&[("OTEL_EXPORTER_OTLP_HEADERS", secret)]).unwrap();
        assert_eq!(config.headers[0].1.expose_secret(), "hunter 2");
        assert!(!format!("{config:?}").contains("hunter"));
        for (variable, wrong) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@collector:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api key=hunter2"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=hunter2%0a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=desk"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
            ("TRUSTED_TRACERS", "nginx"),
        ] {
            let problem = read(&[ENDPOINT, (variable, wrong)]).unwrap_err().to_string();
            assert!(problem.starts_with(&format!("{variable}: ")), "{problem}");
            assert!(!problem.contains("hunter"), "{problem}");
        }
    }
}
