//! Metrics and the canary.

use super::*;

#[test]
fn revocations_and_grants_are_timed_and_shown_to_operators_only() {
    let vitals = Arc::new(Vitals::new(Some(Duration::from_secs(60))));
    let shared = Arc::clone(&vitals);
    let scene = Scene::with(move |server| server.vitals = shared);
    let id = scene.start()["id"].as_str().unwrap().to_owned();
    let refused = scene.client.get("/v1/canary").unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { status: 403, .. }), "{refused:?}");
    assert!(matches!(page(&scene), Err(ClientError::Refused { status: 403, .. })));
    scene.untag();
    let none = page(&scene).unwrap();
    assert!(none.contains("remit_revocation_seconds_count 0\n"), "{none}");
    let grant = json!({"tool": "github", "ttl": "10m"});
    scene.client.post(&format!("/v1/sessions/{id}/grants"), &grant).unwrap();
    scene.client.delete(&format!("/v1/sessions/{id}/grants/github")).unwrap();
    scene.client.delete(&format!("/v1/sessions/{id}/grants")).unwrap();
    scene.client.delete(&format!("/v1/sessions/{id}/grants/github")).unwrap_err();
    let page = page(&scene).unwrap();
    for line in [
        "remit_revocation_seconds_count 2",
        "remit_revocation_seconds_bucket{le=\"+Inf\"} 2",
        "remit_grant_seconds_count 1",
        "remit_sessions 1",
        "remit_canary_ok 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}:\n{page}");
    }
}

/// The page of metrics.
fn page(scene: &Scene) -> Result<String, ClientError> {
    let mut page = String::new();
    scene.client.stream("/v1/metrics", |line| {
        page.push_str(line);
        page.push('\n');
        Ok(())
    })?;
    Ok(page)
}

#[test]
fn canary_report_is_shown_before_and_after_a_run() {
    let vitals = Arc::new(Vitals::new(Some(Duration::from_secs(60))));
    let shared = Arc::clone(&vitals);
    let scene = Scene::with(move |server| server.vitals = shared);
    let pending = scene.client.get("/v1/canary").unwrap();
    assert_eq!(pending["state"], "pending");
    assert_eq!((&pending["last_run"], &pending["interval_seconds"]), (&Value::Null, &json!(60)));
    let answers: Vec<_> = (0..crate::canary::TRIES.len())
        .map(|index| crate::canary::Answer { index, errno: 0 })
        .collect();
    vitals.set_canary(crate::canary::judge(&answers, &[]));
    let failed = scene.client.get("/v1/canary").unwrap();
    assert_eq!((&failed["state"], &failed["failures"]), (&json!("failed"), &json!(1)));
    let tries = failed["tries"].as_array().unwrap();
    assert_eq!(tries.len(), crate::canary::TRIES.len());
    assert_eq!(tries[0]["outcome"], "done");
    let last = tries.last().unwrap();
    assert_eq!((&last["operation"], &last["outcome"]), (&json!("file.exec"), &json!("succeeded")));
}

#[test]
fn canary_runs_on_request_unless_it_is_off() {
    for (interval, state, runs) in [(Some(Duration::from_secs(60)), "ok", 2), (None, "off", 0)] {
        let vitals = Arc::new(Vitals::new(interval));
        let shared = Arc::clone(&vitals);
        let scene = Scene::with(move |server| {
            server.vitals = Arc::clone(&shared);
            server.canary = Arc::new(move || shared.set_canary(crate::canary::Report::default()));
        });
        scene.client.post("/v1/canary", &()).unwrap();
        let found = scene.client.post("/v1/canary", &()).unwrap();
        assert_eq!((&found["state"], &found["runs"]), (&json!(state), &json!(runs)));
        scene.start();
        let refused = scene.client.post("/v1/canary", &()).unwrap_err();
        assert!(matches!(&refused, ClientError::Refused { status: 403, .. }), "{refused:?}");
    }
}
