//! Variables of pushes.

use std::time::Duration;

use secrecy::SecretString;

use platform::variables::{ConfigError, Variables};

/// Pushes through OneSignal, and their text.
#[derive(Clone, Debug)]
pub struct PushConfig {
    /// Id of OneSignal's app.
    pub app_id: String,
    pub(crate) api_key: SecretString,
    /// Address of OneSignal's API.
    pub base_url: String,
    /// Prefix of each person's id: OneSignal refuses some ids, such as `0` and `null`.
    pub(crate) id_prefix: String,
    /// Delay between a message and its push. Later messages join a waiting push.
    pub delay: Duration,
    /// Title of a push.
    pub title: String,
    /// Text of a push, without the message.
    pub text: String,
}

const DEFAULT_BASE_URL: &str = "https://api.onesignal.com";

impl PushConfig {
    /// `None` if pushes are off.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let (app_id, api_key) = ("ONESIGNAL_APP_ID", "ONESIGNAL_API_KEY");
        if variables.text(app_id).is_none() && variables.text(api_key).is_none() {
            return Ok(None);
        }
        let app_id = variables.required(app_id, api_key)?;
        let api_key = variables.required(api_key, "ONESIGNAL_APP_ID")?.into();
        let base_url = variables.url("ONESIGNAL_BASE_URL")?;
        let show = variables.flag("PUSH_SHOW_TEXT")?;
        let (title, text) = if show { ("{name}", "{text}") } else { HIDDEN };
        Ok(Some(Self {
            app_id,
            api_key,
            base_url: base_url.unwrap_or_else(|| DEFAULT_BASE_URL.to_owned()),
            id_prefix: id_prefix(variables)?,
            delay: variables.millis("PUSH_DELAY_MS", 3_000, 0..=600_000)?,
            title: template(variables, "PUSH_TITLE", title, show)?,
            text: template(variables, "PUSH_TEXT", text, show)?,
        }))
    }
}

fn id_prefix(variables: &Variables) -> Result<String, ConfigError> {
    let prefix = variables.text("PUSH_ID_PREFIX").unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    if prefix.len() <= ID_PREFIX_MAX && prefix.bytes().all(fits) {
        return Ok(prefix.to_owned());
    }
    let problem = "must be up to 32 letters, digits and -_:. of ASCII";
    Err(Variables::error("PUSH_ID_PREFIX", problem))
}

/// Maximum length of a prefix in bytes.
const ID_PREFIX_MAX: usize = 32;

/// Text without sender and content, as anyone can see a lock screen.
const HIDDEN: (&str, &str) = ("New message", "Open the app to read it.");

fn template(
    variables: &Variables,
    variable: &str,
    default: &str,
    show: bool,
) -> Result<String, ConfigError> {
    let template = variables.text(variable).unwrap_or(default);
    if !show && (template.contains("{name}") || template.contains("{text}")) {
        let problem = "may hold {name} and {text} only with PUSH_SHOW_TEXT=true";
        return Err(Variables::error(variable, problem));
    }
    Ok(template.to_owned())
}
