//! Requests over a real socket, to a registry with a kernel for tests. The peer is this very process, so starting a
//! session makes it a process of that session.

mod rate;
mod vitals;

use std::{fs, path::PathBuf, sync::Arc, thread, time::Duration};

use agent_common::id::{SessionId, Slot, Tag};
use serde_json::{Value, json};

use super::{
    connection::ACCOUNT_CONNECTIONS,
    log::{Follower, Log, LogError, Scope},
    *,
};
use crate::{
    api::{
        IncidentQuery,
        client::{Client, ClientError},
    },
    session::{
        Sessions,
        acts::{Act, Outcome},
        policy_dir::PolicyDir,
        registry::tests::{POLICY, World},
        testing::Double,
    },
    vitals::Vitals,
};

/// A log of two lines.
struct TwoLines;

impl Log for TwoLines {
    fn list(&self, query: &IncidentQuery, scope: &Scope) -> Result<Vec<String>, LogError> {
        match query.session.as_deref() {
            Some("broken") => Err(LogError::Read("broken".into())),
            _ if *scope != Scope::All => Ok(vec![format!("{:?}", format!("{scope:?}"))]),
            _ => Ok(vec![r#"{"z":1,"a":2}"#.into(), r#"{"n":2}"#.into()]),
        }
    }

    fn all(&self, query: &IncidentQuery, scope: &Scope) -> Result<Box<dyn Follower>, LogError> {
        Ok(Box::new(Parts(vec![
            Vec::new(),
            self.list(query, scope)?,
            vec![r#"{"first":1}"#.into()],
        ])))
    }

    fn show(&self, id: &str, _: &Scope) -> Result<String, LogError> {
        Err(LogError::Unknown(id.into()))
    }

    fn summary(&self, _: &IncidentQuery, _: &Scope) -> Result<Value, LogError> {
        Ok(json!({"refusals": 2}))
    }

    fn verify(&self) -> Result<Value, LogError> {
        Ok(json!({"lines": 2}))
    }

    fn follow(&self, _: &IncidentQuery, _: &Scope) -> Result<Box<dyn Follower>, LogError> {
        Ok(Box::new(Once(true)))
    }
}

/// Lines a part at a time, from the last on.
struct Parts(Vec<Vec<String>>);

impl Follower for Parts {
    fn next(&mut self) -> Result<Vec<String>, LogError> {
        Ok(self.0.pop().unwrap_or_default())
    }
}

/// Two lines, then the end.
struct Once(bool);

impl Follower for Once {
    fn next(&mut self) -> Result<Vec<String>, LogError> {
        if std::mem::take(&mut self.0) {
            return Ok(vec!["{\"n\":1}".into(), "{\"n\":2}".into()]);
        }
        Err(LogError::Read("over".into()))
    }
}

/// A server and its client.
struct Scene {
    client: Client,
    kernel: Double,
    policy_dir: PathBuf,
    sessions: Sessions,
    world: World,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Server)) -> Self {
        let world = World::new();
        let sessions = Sessions::new(world.open(POLICY));
        let policy_dir = world.dir.path().join("policy.d");
        fs::create_dir(&policy_dir).unwrap();
        fs::write(policy_dir.join("10-test.toml"), POLICY).unwrap();
        let socket = world.dir.path().join("run/control.sock");
        let mut server = Server {
            sessions: sessions.clone(),
            policy: PolicyDir::new(
                &policy_dir,
                &world.dir.path().join("shipped"),
                sessions.clone(),
            ),
            log: Arc::new(TwoLines),
            group: rustix::process::getegid().as_raw().to_string().into(),
            // This test process has many threads.
            threads: |_| Ok(1),
            vitals: Arc::new(Vitals::new(Some(Duration::from_secs(60)))),
            canary: Arc::new(|| {}),
            attempts: Attempts::default(),
        };
        change(&mut server);
        let place = socket.clone();
        let (ready, wait) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = bind(&place, |_| Ok(())).unwrap();
                ready.send(()).unwrap();
                serve(listener, server).await.unwrap();
            });
        });
        wait.recv().unwrap();
        let kernel = world.kernel.clone();
        Self { client: Client::new(Some(socket)).unwrap(), kernel, policy_dir, sessions, world }
    }

    /// A folder to work in.
    fn work(&self) -> String {
        let folder = self.world.dir.path().join("work");
        fs::create_dir_all(&folder).unwrap();
        folder.canonicalize().unwrap().to_str().unwrap().to_owned()
    }

    /// Makes this process an operator again.
    fn untag(&self) {
        self.kernel.state().tags.clear();
    }

    fn start(&self) -> Value {
        let request = json!({"profile": "coder", "workdir": self.work(), "task": "fix"});
        self.client.post("/v1/sessions", &request).unwrap()
    }
}

/// Status and code of a refusal.
fn refused(answer: Result<Value, ClientError>) -> (u16, String) {
    match answer {
        Err(ClientError::Refused { status, body }) => (status, body.code.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn operator_starts_grants_revokes_and_ends() {
    let scene = Scene::new();
    let session = scene.start();
    assert_eq!(session["name"], "coder-1");
    assert_eq!(session["state"], "active");
    assert_eq!(session["tools"][0]["tool"], "base");
    assert_eq!(session["pid"], std::process::id());
    scene.untag();
    let grants = "/v1/sessions/coder-1/grants";
    let request = json!({"tool": "github", "ttl": "10m", "reason": "push"});
    let granted = scene.client.post(grants, &request).unwrap();
    assert_eq!(granted["tools"][2]["left_seconds"], 600);
    assert_eq!(granted["tools"][2]["reason"], "push");
    let revoked = scene.client.delete(&format!("{grants}/github")).unwrap();
    assert_eq!(revoked["history"][0]["how"], "revoked");
    assert_eq!(refused(scene.client.delete(&format!("{grants}/github"))), (409, "not_held".into()));
    let empty = scene.client.delete(grants).unwrap();
    assert_eq!(empty["tools"], json!([]));
    scene.client.post("/v1/sessions/coder-1/quarantine", &()).unwrap();
    scene.client.post("/v1/sessions/coder-1/resume", &()).unwrap();
    let ended = scene.client.delete("/v1/sessions/coder-1").unwrap();
    assert_eq!((&ended["session"]["state"], &ended["killed"]), (&json!("ended"), &json!(0)));
    assert_eq!(scene.client.get("/v1/sessions").unwrap()["sessions"], json!([]));
    let all = scene.client.get("/v1/sessions?all=true").unwrap();
    assert_eq!(all["sessions"][0]["ended"]["reason"], "an operator ended it");
}

#[test]
fn tagged_peer_sees_only_itself() {
    let scene = Scene::new();
    scene.start();
    assert_eq!(scene.client.get("/v1/whoami").unwrap()["session"]["name"], "coder-1");
    assert_eq!(scene.client.get("/v1/sessions/coder-1").unwrap()["profile"], "coder");
    let confined = (403, "confined".to_owned());
    assert!(scene.client.get("/v1/incidents?limit=1").unwrap().to_string().contains("Refusals("));
    for path in ["/v1/sessions/other", "/v1/sessions", "/v1/health", "/v1/policy"] {
        assert_eq!(refused(scene.client.get(path)), confined, "{path}");
    }
    let request = json!({"tool": "github", "ttl": "10m"});
    let grant = scene.client.post("/v1/sessions/coder-1/grants", &request);
    assert_eq!(refused(grant), confined);
    assert_eq!(refused(scene.client.delete("/v1/sessions/coder-1")), confined);
    let start = json!({"profile": "coder", "workdir": "/"});
    assert_eq!(refused(scene.client.post("/v1/sessions", &start)), confined);
    assert_eq!(refused(scene.client.post("/v1/policy/reload", &json!({}))), confined);
    assert_eq!(scene.sessions.lock().live().count(), 1);
}

#[test]
fn peer_of_unknown_session_is_refused() {
    let scene = Scene::new();
    scene.kernel.state().fail = Some("tag_of");
    assert_eq!(refused(scene.client.get("/v1/whoami")), (403, "forbidden".into()));
    assert_eq!(refused(scene.client.get("/v1/sessions")), (403, "forbidden".into()));
    scene.kernel.state().fail = None;
    scene.kernel.state().fail = Some("connector_of");
    assert_eq!(refused(scene.client.get("/v1/sessions")), (403, "forbidden".into()));
    scene.kernel.state().fail = None;
    assert_eq!(scene.client.get("/v1/whoami").unwrap()["operator"], true);
}

#[test]
fn connection_made_by_a_session_is_confined_in_any_process() {
    let scene = Scene::new();
    scene.start();
    scene.untag();
    let session = scene.sessions.lock().live().next().unwrap().clone();
    let tag = Tag { session: session.id.0, slot: session.slot(), marks: 0 };
    scene.kernel.state().connector = Some(tag);
    assert_eq!(scene.client.get("/v1/whoami").unwrap()["session"]["name"], "coder-1");
    let request = json!({"tool": "github", "ttl": "10m", "reason": "mine"});
    let grant = scene.client.post("/v1/sessions/coder-1/grants", &request);
    assert_eq!(refused(grant), (403, "confined".to_owned()));
    let acts = scene.world.memory.0.lock().unwrap();
    let last = acts.last().unwrap();
    assert_eq!((last.act, last.outcome), (Act::Grant, Outcome::Refused));
    assert_eq!((last.by_session, last.reason.as_deref()), (Some(session.id), Some("mine")));
    assert_eq!(last.session.as_ref().map(|session| session.name.as_str()), Some("coder-1"));
}

#[test]
fn failed_acts_are_logged_and_failed_questions_are_not() {
    let scene = Scene::new();
    scene.client.get("/v1/sessions/nobody").unwrap_err();
    scene.client.post("/v1/sessions/nobody/quarantine", &()).unwrap_err();
    let start = json!({"profile": "coder", "workdir": "/"});
    scene.client.post("/v1/sessions", &start).unwrap_err();
    let acts = scene.world.memory.0.lock().unwrap();
    let failed: Vec<Act> =
        acts.iter().filter(|act| act.outcome == Outcome::Failed).map(|act| act.act).collect();
    assert_eq!(failed, [Act::Quarantine, Act::Start]);
}

#[test]
fn refusals_are_json_with_a_fitting_status() {
    let scene = Scene::new();
    let get = |path: &str| refused(scene.client.get(path));
    let post = |path: &str, body: &Value| refused(scene.client.post(path, body));
    assert_eq!(get("/v1/sessions/nobody"), (404, "no_session".into()));
    assert_eq!(get("/v1/nowhere"), (404, "no_such_path".into()));
    assert_eq!(get("/v1/policy/reload"), (405, "wrong_method".into()));
    assert_eq!(get("/v1/requests"), (501, "not_there_yet".into()));
    assert_eq!(get("/v1/sessions?al=true"), (400, "bad_request".into()));
    assert_eq!(get("/v1/incidents/x"), (404, "no_incident".into()));
    assert_eq!(get("/v1/incidents?session=broken"), (500, "log".into()));
    for path in ["/v1/step", "/v1/attach", "/v1/policy/learn", "/v1/sessions/x/children"] {
        assert_eq!(post(path, &json!({})), (501, "not_there_yet".into()), "{path}");
    }
    assert_eq!(post("/v1/sessions", &json!({"profile": 1})), (422, "bad_request".into()));
    let wrong = json!({"profile": "codr", "workdir": "/"});
    assert_eq!(post("/v1/sessions", &wrong), (404, "no_profile".into()));
    let work = scene.work();
    let wrong = json!({"profile": "coder", "workdir": work, "ttl": "soon"});
    assert_eq!(post("/v1/sessions", &wrong), (400, "bad_request".into()));
    for folder in ["/", "relative", "/no/such/folder"] {
        let wrong = json!({"profile": "coder", "workdir": folder});
        assert_eq!(post("/v1/sessions", &wrong), (400, "bad_request".into()), "{folder}");
    }
}

#[test]
fn push_with_an_error_changes_nothing() {
    let scene = Scene::new();
    let file = |text: &str| json!({"files": [{"name": "20-more.toml", "text": text}]});
    let path = scene.policy_dir.join("20-more.toml");
    let wrong = file("schema = 1\n[tool.base]\n");
    match scene.client.post("/v1/policy", &wrong) {
        Err(ClientError::Refused { status: 422, body }) => {
            assert_eq!(body.code, "bad_policy");
            assert_eq!(body.diagnostics[0].file, path);
        }
        other => panic!("{other:?}"),
    }
    assert!(!path.exists());
    let outside = json!({"files": [{"name": "../x.toml", "text": "schema = 1"}]});
    assert_eq!(refused(scene.client.post("/v1/policy", &outside)), (400, "bad_request".into()));

    let right =
        "schema = 1\n[tool.more]\nfiles = [{ paths = [\"/opt/**\"], access = [\"read\"] }]\n";
    let checked = scene.client.post("/v1/policy/check", &file(right)).unwrap();
    assert_eq!(checked["size"]["tools"], 5);
    scene.kernel.state().fail = Some("activate");
    assert_eq!(refused(scene.client.post("/v1/policy", &file(right))).0, 500);
    assert!(!path.exists());
    let pushed = scene.client.post("/v1/policy", &file(right)).unwrap();
    assert_eq!((&pushed["generation"], &pushed["added"]), (&json!(2), &json!(["more"])));
    assert_eq!(fs::read_to_string(&path).unwrap(), right);

    fs::remove_file(&path).unwrap();
    let tried = scene.client.post("/v1/policy/reload", &json!({"dry_run": true})).unwrap();
    assert_eq!(tried["dropped"], json!(["more"]));
    assert_eq!(scene.client.get("/v1/policy").unwrap()["generation"], 2);
    scene.client.post("/v1/policy/reload", &json!({})).unwrap();
    assert_eq!(scene.client.get("/v1/policy").unwrap()["generation"], 3);
    assert!(scene.world.memory.acts().contains(&"Push ".to_owned()));
}

#[test]
fn explain_says_what_would_be_decided() {
    let scene = Scene::new();
    scene.start();
    scene.untag();
    let explain = |operation: &str, object: &str| {
        let request = json!({"session": "coder-1", "operation": operation, "object": object});
        scene.client.post("/v1/policy/explain", &request).unwrap()
    };
    let allowed = explain("read", &format!("{}/y", scene.work()));
    assert_eq!(
        (&allowed["verdict"], &allowed["allowed_by"]),
        (&json!("allowed"), &json!(["workspace"]))
    );
    let refused = explain("net.connect", "203.0.113.9:443");
    assert_eq!(refused["verdict"], "denied");
    assert_eq!(
        (&refused["reason"], &refused["would_allow"]),
        (&json!("no_tool"), &json!(["github"]))
    );
    assert_eq!(refused["rules"][0]["line"], 8);
}

#[test]
fn log_lines_are_passed_on_unchanged() {
    let scene = Scene::new();
    let list = scene.client.get("/v1/incidents?limit=9").unwrap();
    assert_eq!(list["incidents"][0]["a"], 2);
    // Without a limit, in parts.
    let list = scene.client.get("/v1/incidents").unwrap();
    assert_eq!(list["incidents"], json!([{"first": 1}, {"z": 1, "a": 2}, {"n": 2}]));
    for (query, count) in [("lines=true", 3), ("lines=true&limit=9", 2), ("follow=true", 2)] {
        let mut lines = Vec::new();
        let path = format!("/v1/incidents?{query}");
        scene
            .client
            .stream(&path, |line| {
                lines.push(line.to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(lines.len(), count, "{query}: {lines:?}");
    }
    assert_eq!(scene.client.get("/v1/incidents/summary").unwrap()["refusals"], 2);
    assert_eq!(scene.client.get("/v1/incidents/verify").unwrap()["lines"], 2);
}

#[test]
fn end_with_kill_kills_the_sessions_processes() {
    let scene = Scene::new();
    let session = scene.start();
    scene.untag();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let id = u64::from_str_radix(session["id"].as_str().unwrap(), 16).unwrap();
    let tag = Tag { session: SessionId(id), slot: Slot(0), marks: 0 };
    scene.kernel.state().tags.insert(child.id().cast_signed(), tag);
    let ended = scene.client.delete("/v1/sessions/coder-1?kill=true").unwrap();
    assert_eq!(ended["killed"], 1);
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
}

#[test]
fn process_with_several_threads_is_not_tagged() {
    let scene = Scene::with(|server| server.threads = |_| Ok(2));
    let request = json!({"profile": "coder", "workdir": scene.work()});
    let answer = scene.client.post("/v1/sessions", &request);
    assert_eq!(refused(answer), (409, "threads".into()));
    assert_eq!(scene.sessions.lock().live().count(), 0);
}

#[test]
fn large_request_is_refused_unless_by_an_operator() {
    let scene = Scene::new();
    // Larger than allowed, and small enough for the client to have written it all before it is refused.
    let large = json!({"files": [{"name": "x.toml", "text": "#".repeat(100_000)}]});
    assert!(scene.client.post("/v1/policy/check", &large).is_ok());
    scene.start();
    assert_eq!(refused(scene.client.post("/v1/policy/check", &large)).0, 413);
}

#[test]
fn peer_that_is_no_operator_has_few_connections() {
    let scene = Scene::new();
    scene.start();
    let connect = || std::os::unix::net::UnixStream::connect(scene.client.socket()).unwrap();
    let held: Vec<_> = (0..ACCOUNT_CONNECTIONS).map(|_| connect()).collect();
    // They are counted a moment after they were made.
    let mut refused_at_last = false;
    for _ in 0..100 {
        refused_at_last |=
            matches!(scene.client.get("/v1/whoami"), Err(ClientError::Refused { status: 429, .. }));
        if refused_at_last {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(refused_at_last);
    drop(held);
}
