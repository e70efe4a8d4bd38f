//! Accounts that were made for the check, and how each signs in: `[gates] actor = […]`. Two of one role and one of another
//! show who may read what. Their secrets are read at each use and stand in no output.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;
use url::Url;

use super::GateContext;
use crate::domain::problem::Problem;
use crate::domain::secret::{BasicAuth, Revealed, Secret, authorization};
use crate::net::safety::Intent;
use crate::net::{NetError, Request, Response};

/// One entry of `[gates] actor = […]`: a name, a role, and one way to sign in.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Actor {
    /// As findings name it: `alice`.
    pub name: String,
    /// `user`, `admin`: actors of one role may do the same things, each with his own.
    pub role: String,
    /// The service's own id of this account, as its logs show it.
    pub id: Option<String>,
    /// Sent as `Authorization: Bearer …`.
    pub bearer: Option<Secret>,
    pub basic: Option<BasicAuth>,
    /// The whole value of the `Cookie` header of a session.
    pub cookie: Option<Secret>,
    /// An API key.
    pub header: Option<KeyHeader>,
    /// Signs in as a person does, once a run.
    pub login: Option<Login>,
}

/// `{ name = "X-Api-Key", value = "${env:NAME}" }`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyHeader {
    pub name: String,
    pub value: Secret,
}

/// `{ path = "/login", username = "alice", password = "${env:NAME}" }`: cookies that come back are kept, and the token.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub path: String,
    pub username: String,
    pub password: Secret,
    /// `json` or `form`.
    #[serde(default)]
    pub format: Format,
    /// Name of the field that holds the user's name.
    #[serde(default = "username_field")]
    pub username_field: String,
    #[serde(default = "password_field")]
    pub password_field: String,
    /// Where the answer holds a bearer token, as a JSON pointer (RFC 6901): `/access_token`. Default: whichever of the usual
    /// names is there.
    #[serde(default)]
    pub token: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Form,
}

impl Format {
    /// Media type and body of a login with these two fields.
    pub fn body(self, fields: [(&str, &str); 2]) -> (&'static str, String) {
        let [(user, name), (secret, password)] = fields;
        match self {
            Format::Json => ("application/json", json!({ user: name, secret: password }).to_string()),
            Format::Form => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair(user, name).append_pair(secret, password);
                ("application/x-www-form-urlencoded", form.finish())
            }
        }
    }
}

fn username_field() -> String {
    "username".into()
}

fn password_field() -> String {
    "password".into()
}

/// Where answers to a login hold their token.
pub const TOKENS: [&str; 8] = [
    "/access_token",
    "/accessToken",
    "/token",
    "/jwt",
    "/id_token",
    "/data/token",
    "/data/access_token",
    "/authentication/token",
];

/// Headers that make a request an actor's.
pub type Headers = Vec<(String, String)>;

impl Actor {
    /// Finds every problem. Pure.
    pub fn validate(actors: &[Actor]) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |message: String| problems.push(Problem::at(["actor"], message));
        for (nth, actor) in actors.iter().enumerate() {
            let ways = [
                actor.bearer.is_some(),
                actor.basic.is_some(),
                actor.cookie.is_some(),
                actor.header.is_some(),
                actor.login.is_some(),
            ];
            if actor.name.trim().is_empty() || actor.role.trim().is_empty() {
                wrong(format!("actor {} lacks its name or its role", nth + 1));
            } else if actors[..nth].iter().any(|other| other.name == actor.name) {
                wrong(format!("two actors are called `{}`", actor.name));
            }
            if ways.into_iter().filter(|way| *way).count() != 1 {
                wrong(format!("{} needs one of bearer, basic, cookie, header, login", actor.name));
            }
            if actor.login.as_ref().is_some_and(|login| !login.path.starts_with('/')) {
                wrong(format!("the login of {} is no path of the target: it begins with /", actor.name));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Without a login's, which must be asked for.
    fn headers(&self) -> Result<Headers, String> {
        let said = |e: crate::domain::secret::SecretError| format!("{}: {e}", self.name);
        let mut out = Headers::new();
        if let Some(value) = authorization(self.bearer.as_ref(), self.basic.as_ref()).map_err(said)? {
            out.push(("authorization".into(), value));
        }
        if let Some(cookie) = &self.cookie {
            out.push(("cookie".into(), cookie.reveal().map_err(said)?.expose().to_string()));
        }
        if let Some(key) = &self.header {
            out.push((key.name.to_ascii_lowercase(), key.value.reveal().map_err(said)?.expose().to_string()));
        }
        Ok(out)
    }
}

impl Login {
    fn request(&self, base: &Url) -> Result<Request, String> {
        let url = base.join(&self.path).map_err(|e| format!("login path {}: {e}", self.path))?;
        let password = self.password.reveal().map_err(|e| e.to_string())?;
        let pairs = [(self.username_field.as_str(), self.username.as_str()), (&self.password_field, password.expose())];
        let (kind, body) = self.format.body(pairs);
        Ok(Request::post(url, kind, body))
    }

    /// What the answer hands out: cookies, a token, or both.
    fn signed(&self, answer: &Response) -> Result<Headers, String> {
        if answer.status >= 400 {
            return Err(format!("{} answered {} to {}", self.path, answer.status, self.username));
        }
        let mut out = Headers::new();
        let body: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let known = TOKENS.iter().find_map(|pointer| body.pointer(pointer)?.as_str());
        let token = match &self.token {
            Some(pointer) => Some(
                body.pointer(pointer)
                    .and_then(Json::as_str)
                    .ok_or_else(|| format!("the answer of {} holds no {pointer}", self.path))?,
            ),
            None => known,
        };
        if let Some(token) = token {
            out.push(("authorization".into(), format!("Bearer {}", Revealed::new(token.into()).expose())));
        }
        let cookies = cookies(answer);
        if !cookies.is_empty() {
            out.push(("cookie".into(), Revealed::new(cookies).expose().to_string()));
        }
        match out.is_empty() {
            true => Err(format!("{} answered {} with neither cookie nor token", self.path, answer.status)),
            false => Ok(out),
        }
    }
}

/// The cookies that an answer sets, as a browser would send them back.
pub fn cookies(answer: &Response) -> String {
    let mut kept: BTreeMap<&str, &str> = BTreeMap::new();
    for set in answer.header_all("set-cookie") {
        let pair = set.split(';').next().unwrap_or_default().trim();
        if let Some((name, value)) = pair.split_once('=') {
            kept.insert(name, value);
        }
    }
    kept.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

/// Who is signed in, once a run.
#[derive(Default)]
pub struct Sessions(Mutex<BTreeMap<String, Session>>);
type Session = Arc<OnceCell<Result<Headers, String>>>;

impl GateContext {
    /// The actors in force.
    pub fn actors(&self) -> &[Actor] {
        &self.config.actor
    }

    /// What makes a request this actor's; signs in at the first call. The error names the actor, never his secret.
    pub async fn signed_in(&self, actor: &Actor) -> Result<Headers, String> {
        let Some(login) = &actor.login else { return actor.headers() };
        let session = {
            let mut sessions = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.entry(actor.name.clone()).or_default().clone()
        };
        session
            .get_or_init(|| async {
                let target = self.target.as_ref().ok_or("no target to sign in at")?;
                let prober = self.prober("actors", Intent::Active);
                let said = |e: NetError| format!("{} could not sign in: {e}", actor.name);
                login.signed(&prober.send(login.request(&target.url)?).await.map_err(said)?)
            })
            .await
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;
    use crate::net::safety::Target;
    use crate::net::tests_support::{Served, serve};

    fn actor(toml: &str) -> Actor {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn what_is_wrong_with_actors_is_told_at_once() {
        let ada = "name = \"ada\"\nrole = \"user\"\nbearer = \"${env:HC_ADA}\"";
        assert!(Actor::validate(&[actor(ada)]).is_ok());
        let twice = format!("{ada}\ncookie = \"${{env:HC_ADA}}\"");
        let nameless = actor("role = \"user\"");
        let relative =
            "name = \"bo\"\nrole = \"user\"\nlogin = { path = \"in\", username = \"bo\", password = \"${env:P}\" }";
        let problems = Actor::validate(&[actor(ada), actor(&twice), nameless, actor(relative)]).unwrap_err();
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let said = said.join("\n");
        for part in ["two actors are called `ada`", "ada needs one of", "actor 3 lacks", "login of bo"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[tokio::test]
    async fn a_login_is_asked_once_and_its_cookie_and_token_are_kept() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = asked.clone();
        let server = serve(move |request| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(request.starts_with("POST /login HTTP/1.1\r\ncontent-type: application/json"), "{request}");
            let headers = [("set-cookie", "sid=s1; HttpOnly"), ("set-cookie", "theme=dark; Path=/")];
            Served::with(200, &headers, b"{\"data\": {\"token\": \"t0ken\"}}")
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p"), "pä ss\n").unwrap();
        let login = Login {
            path: "/login".into(),
            username: "ada".into(),
            password: Secret::File(dir.path().join("p")),
            format: Format::Json,
            username_field: username_field(),
            password_field: password_field(),
            token: None,
        };
        let ada = Actor { name: "ada".into(), role: "user".into(), login: Some(login), ..Actor::default() };
        let url: Url = server.url("/").parse().unwrap();
        let request = ada.login.as_ref().unwrap().request(&url).unwrap();
        assert_eq!(request.body, "{\"password\":\"pä ss\",\"username\":\"ada\"}");
        let form = Login { format: Format::Form, ..ada.login.clone().unwrap() };
        assert_eq!(form.request(&url).unwrap().body, "username=ada&password=p%C3%A4+ss");
        let target = Target { name: "staging".into(), url, ops_url: None, active: true, load: false };
        let (_dir, ctx) = testing::context(|ctx| ctx.target = Some(target));
        for _ in 0..2 {
            let headers = ctx.signed_in(&ada).await.unwrap();
            let expect = [("authorization", "Bearer t0ken"), ("cookie", "sid=s1; theme=dark")];
            assert_eq!(headers, expect.map(|(n, v)| (n.to_string(), v.to_string())));
        }
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_cannot_sign_in_is_named() {
        let server = serve(|_| Served::with(401, &[], b"no")).await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p"), "hunter22").unwrap();
        let text = format!(
            "name = \"bo\"\nrole = \"user\"\nlogin = {{ path = \"/in\", username = \"bo\", format = \"form\", password = \"${{file:{}}}\" }}",
            dir.path().join("p").display()
        );
        let url = server.url("/").parse().unwrap();
        let target = Target { name: "staging".into(), url, ops_url: None, active: true, load: false };
        let (_dir, ctx) = testing::context(|ctx| ctx.target = Some(target));
        let error = ctx.signed_in(&actor(&text)).await.unwrap_err();
        assert!(error.contains("/in answered 401 to bo") && !error.contains("hunter22"), "{error}");
        let missing = actor("name = \"cy\"\nrole = \"user\"\nbearer = \"${env:HC_NOT_THERE_AT_ALL}\"");
        assert!(ctx.signed_in(&missing).await.unwrap_err().contains("cy: environment variable"));
    }
}
