//! One push, by OneSignal's API.

use std::{collections::HashMap, time::Duration};

use onesignal_rust_api::{
    apis::{Error, configuration::Configuration, default_api::create_notification},
    models::{
        CreateNotificationSuccessResponse, LanguageStringMap, Notification,
        notification::TargetChannelType,
    },
};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::push::config::PushConfig;
use chat::pushes::Push;
use model::{ids::TenantId, person::Person};
use platform::jobs::Job;

/// Time limit of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum pause that the service may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Reason of a failed push, as a short code, split by what to do next. It never contains the service's own
/// text, which may quote the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PushError {
    /// Try again; not before `after`, if the service gave it.
    #[error("{code}")]
    Later { code: String, after: Option<Duration> },
    /// A retry would be refused too.
    #[error("{code}")]
    Refused { code: String },
}

/// Outcome of a push that needs no retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Made,
    /// No device of this person accepts pushes.
    NoDevice,
    /// OneSignal does not know this id, or refuses it as an id.
    InvalidAlias,
}

/// Text of one push.
pub(super) struct Words {
    pub(super) title: String,
    pub(super) text: String,
}

/// The push service.
pub(super) struct OneSignal {
    http: reqwest::Client,
    base_url: String,
    app_id: String,
    api_key: SecretString,
    id_prefix: String,
}

impl OneSignal {
    /// Makes no call yet. Redirects are not followed, so that the key goes only to the configured host.
    pub(super) fn new(config: &PushConfig) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(CALL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            base_url: config.base_url.clone(),
            app_id: config.app_id.clone(),
            api_key: config.api_key.clone(),
            id_prefix: config.id_prefix.clone(),
        })
    }

    /// Makes one push. A repetition for the same job makes no second one, whatever the outcome of the first.
    pub(super) async fn push(
        &self,
        job: &Job,
        push: &Push,
        words: Words,
    ) -> Result<Pushed, PushError> {
        let client = reqwest_for_onesignal::Client::from(self.http.clone());
        let configuration = Configuration {
            base_path: self.base_url.clone(),
            user_agent: Some(concat!("frontdesk/", env!("CARGO_PKG_VERSION")).to_owned()),
            client: client.clone(),
            basic_auth: None,
            oauth_access_token: None,
            bearer_access_token: None,
            api_key: None,
            organization_api_key_token: None,
            rest_api_key_token: Some(self.api_key.expose_secret().to_owned()),
        };
        let notification = self.notification(job, push, words);
        match Box::pin(create_notification(&configuration, notification)).await {
            Ok(answer) if answer.is_message_sent() => Ok(Pushed::Made),
            Ok(CreateNotificationSuccessResponse { errors: Some(errors), .. }) => {
                let invalid = errors.get("invalid_aliases").is_some();
                Ok(if invalid { Pushed::InvalidAlias } else { Pushed::NoDevice })
            }
            Ok(_) | Err(Error::Serde(_) | Error::Io(_)) => Err(later("nonsense")),
            Err(Error::Reqwest(error)) if error.is_timeout() => Err(later("timeout")),
            Err(Error::Reqwest(_)) => Err(later("unreachable")),
            Err(Error::ResponseError(answer)) => Err(judge(answer.status, client.retry_after())),
        }
    }

    fn notification(&self, job: &Job, push: &Push, words: Words) -> Notification {
        let in_english =
            |text| Some(Box::new(LanguageStringMap { en: Some(text), ..Default::default() }));
        let session_id = push.session_id.0.to_string();
        let mut notification = Notification::new(self.app_id.clone());
        // Apps log in to OneSignal with the same id: the prefix, then the id in their token.
        // The same id in another tenant is another person.
        let Person { tenant, id, .. } = &push.person;
        let external_id = vec![match *tenant {
            TenantId::MAIN => format!("{}{}", self.id_prefix, id.as_str()),
            tenant => format!("{}{}/{}", self.id_prefix, tenant.number(), id.as_str()),
        }];
        notification.include_aliases =
            Some(HashMap::from([("external_id".to_owned(), external_id)]));
        notification.target_channel = Some(TargetChannelType::Push);
        notification.idempotency_key = Some(job.id.to_string());
        notification.headings = in_english(words.title);
        notification.contents = in_english(words.text);
        notification.data = Some(json!({ "sessionId": session_id }));
        // A push of a session replaces the session's last one.
        notification.collapse_id = Some(session_id.clone());
        notification.web_push_topic = Some(session_id);
        notification
    }
}

fn later(code: &str) -> PushError {
    PushError::Later { code: code.to_owned(), after: None }
}

/// Decides on a retry after an error status.
fn judge(status: StatusCode, retry_after: Option<Duration>) -> PushError {
    let code = format!("http_{}", status.as_u16());
    // A wrong key may be corrected within an hour, and then the pushes are made.
    let again =
        status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 408 | 409 | 425 | 429);
    if again {
        PushError::Later { code, after: retry_after.map(|after| after.min(RETRY_AFTER_MAX)) }
    } else {
        PushError::Refused { code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f20_what_may_pass_is_tried_again_and_what_is_wrong_is_not() {
        let hour = Some(RETRY_AFTER_MAX);
        for status in [408, 429, 500, 502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = judge(status, Some(Duration::from_secs(90_000)));
            assert!(matches!(judged, PushError::Later { after, .. } if after == hour), "{status}");
        }
        for status in [400, 404, 413] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(matches!(judge(status, None), PushError::Refused { .. }), "{status}");
        }
    }
}
