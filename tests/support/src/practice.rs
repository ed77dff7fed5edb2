//! A tenant: an organisation of its own on nodes that it shares with others.

use serde_json::{Value, json};

use crate::{Http, Issuer, Node, Person, Reply, eventually, unique};

/// Key of the platform API in the tests.
pub const PLATFORM_KEY: &str = "the-platform-key-that-only-the-tests-know";
/// Key of the tenants' secrets: 32 bytes.
pub const SECRETS_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// A tenant with a Cognito pool and a Django of its own.
#[derive(Debug)]
pub struct Practice {
    /// Number of the tenant.
    pub id: i64,
    /// Its pool.
    pub pool: Issuer,
    /// `iss` of its Django.
    pub django: String,
    /// Secret of its Django.
    pub secret: String,
}

/// The platform API of a node.
#[derive(Debug)]
pub struct Platform(Http);

impl Platform {
    /// The API of a node that has [`PLATFORM_KEY`].
    #[must_use]
    pub fn of(node: &Node) -> Self {
        Self(Http::new(node.address, None))
    }

    /// Sends a request with the key.
    pub async fn send(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Reply {
        let path = format!("/api/platform/tenants{path}");
        self.0.send(method, &path, body.map(Value::to_string), &[("x-api-key", PLATFORM_KEY)]).await
    }

    /// `POST`
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(reqwest::Method::POST, path, Some(body)).await
    }

    /// `PATCH`
    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send(reqwest::Method::PATCH, path, Some(body)).await
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Reply {
        self.send(reqwest::Method::GET, path, None).await
    }
}

impl Practice {
    /// Creates a tenant with both issuers.
    pub async fn open(platform: &Platform, name: &str) -> Self {
        let tenant = platform.post("", &json!({ "name": name })).await.expect(201);
        let (pool, django) = (Issuer::start().await, unique("django"));
        let (id, secret) = (tenant["id"].as_i64().unwrap(), unique("secret-of-a-practice"));
        let issuers = format!("/{id}/issuers");
        let cognito = json!({ "kind": "cognito", "issuer": pool.url, "clientIds": ["app"] });
        platform.post(&issuers, &cognito).await.expect(201);
        let of_django = json!({ "kind": "django", "issuer": django, "secret": secret });
        platform.post(&issuers, &of_django).await.expect(201);
        Self { id, pool, django, secret }
    }

    /// Waits until a node knows the issuers.
    pub async fn known(&self, node: &Node) {
        for person in [self.customer("probe"), self.dentist("probe")] {
            let http = Http::new(node.address, Some(&person.token));
            eventually("the node knows the issuers", async || {
                http.get("/api/chats").await.status == 200
            })
            .await;
        }
    }

    /// A customer of this practice.
    #[must_use]
    pub fn customer(&self, id: &str) -> Person {
        Person { kind: "customer", token: self.pool.customer(id), id: id.to_owned() }
    }

    /// A dentist of this practice.
    #[must_use]
    pub fn dentist(&self, id: &str) -> Person {
        self.dentist_with(id, &json!({}))
    }

    /// A dentist of this practice who is an admin.
    #[must_use]
    pub fn admin(&self, id: &str) -> Person {
        self.dentist_with(id, &json!({ "role": "admin" }))
    }

    fn dentist_with(&self, id: &str, more: &Value) -> Person {
        let mut claims = Issuer::dentist_claims(id);
        claims["iss"] = self.django.clone().into();
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = Issuer::sign_with_secret(&claims, self.secret.as_bytes());
        Person { kind: "dentist", token, id: id.to_owned() }
    }
}
