//! What people see, word for word.

use agent_common::{decision::Reason, event::Operation};

use super::*;
use crate::incident::{
    decode::{Event, Object, Verdict},
    enrich::enrich,
    fold::fold,
    record::{Act, Actor, Control, Incident},
    testing::{TestContext, event, file_event, session},
};

fn record(event: Event) -> Record {
    let mut incident = enrich(&fold([event])[0], "boot", &mut TestContext);
    incident.id = "01JDEXAMPLE".into();
    Record::Incident(Box::new(incident))
}

fn control() -> Record {
    let by = Actor { uid: 0, user: Some("root".into()), pid: 77, session: None };
    let mut control = Control::new("h1", Act::Grant, by);
    control.id = "01JDCONTROL".into();
    control.time = Time::new("2026-11-24T09:31:00Z".parse().unwrap());
    control.session = Some(session());
    control.tool = Some("github".into());
    control.reason = Some("ticket 7".into());
    control.until = Some(Time::new("2026-11-24T09:41:00Z".parse().unwrap()));
    Record::Control(Box::new(control))
}

fn page(text: &str) -> String {
    text.trim_start_matches('\n').to_owned()
}

#[test]
fn list_has_aligned_columns() {
    let records =
        [record(event(1)), record(file_event(2, "/etc/shadow", Reason::ExplicitDeny)), control()];
    assert_eq!(
        list(&records, Colour::Never),
        page(
            "
TIME                  SESSION  OPERATION    OBJECT               REASON         COUNT  ID
2026-11-24T09:30:00Z  fix-42   net.connect  203.0.113.7:443/tcp  no_tool        ×1     01JDEXAMPLE
2026-11-24T09:30:00Z  fix-42   file.open    /etc/shadow          explicit_deny  ×1     01JDEXAMPLE
2026-11-24T09:31:00Z  fix-42   grant        github               done                  01JDCONTROL
"
        )
    );
}

#[test]
fn detail_of_a_missing_tool_gives_the_command_that_grants_it() {
    assert_eq!(
        detail(&record(event(1)), Colour::Never),
        page(
            r#"
Refused: net.connect

     what  curl tried to connect to 203.0.113.7:443/tcp
  program  /usr/bin/curl (process 4242, user 1000)
  started  sh → python3 → curl
  session  fix-42, profile coder, task "fix #42"
     when  2026-11-24T09:30:00.000001Z on h1
      why  no tool that the session holds covers it
   remedy  The tool `github` would allow it:
           remit grant fix-42 github --ttl 10m --reason "…"
      see  owasp-agentic:ASI02 maestro:L3 mitre-atlas:AML.T0053 mitre-attack:T1041 mitre-attack:T1048 mitre-atlas:AML.T0086 nist-ai-rmf:GOVERN
       id  01JDEXAMPLE
"#
        )
    );
}

#[test]
fn detail_of_a_denial_names_the_rule_and_offers_no_grant() {
    assert_eq!(
        detail(&record(file_event(2, "/etc/shadow", Reason::ExplicitDeny)), Colour::Never),
        page(
            r#"
Refused: file.open

     what  curl tried to open /etc/shadow for read
  program  /usr/bin/curl (process 4242, user 1000)
  started  sh → python3 → curl
  session  fix-42, profile coder, task "fix #42"
     when  2026-11-24T09:30:00.000002Z on h1
      why  the policy denies it to everybody
     rule  /etc/remit/policy.d/10-base.toml:12  paths = ["/etc/shadow"]
   remedy  No grant can allow it: a denial beats every tool. Only a change of the rule could.
      see  owasp-agentic:ASI02 maestro:L6 owasp-agentic:ASI03 owasp-nhi:NHI2 mitre-attack:T1552 nist-ai-rmf:GOVERN
       id  01JDEXAMPLE
"#
        )
    );
}

#[test]
fn detail_in_audit_mode_states_that_it_passed() {
    let shown = detail(&record(Event { verdict: Verdict::WouldDeny, ..event(1) }), Colour::Never);
    assert!(shown.starts_with("Would be refused, but passed (audit mode): net.connect\n"));
}

#[test]
fn what_is_not_there_is_not_shown() {
    let bare = Event { operation: Operation::PrivUserns, object: Object::Number(0), ..event(1) };
    let Record::Incident(mut incident) = record(bare) else { panic!() };
    incident.session.task.clear();
    let bare = Record::Incident(incident);
    let shown = detail(&bare, Colour::Never);
    assert!(shown.contains("  what  curl tried to do priv.userns\n"), "{shown}");
    assert!(shown.contains("session  fix-42, profile coder\n"), "{shown}");
    assert!(!list([&bare], Colour::Never).contains(" 0 "));
}

#[test]
fn detail_of_a_control_act_names_actor_and_end() {
    assert_eq!(
        detail(&control(), Colour::Never),
        page(
            "
Control: grant

       by  root (user 0, process 77)
     when  2026-11-24T09:31:00.000000Z on h1
  session  fix-42
     tool  github
   reason  ticket 7
    until  2026-11-24T09:41:00.000000Z
  outcome  done
       id  01JDCONTROL
"
        )
    );
}

#[test]
fn advice_offers_a_grant_only_if_one_helps() {
    let offers = |reason: &str, tools: &[&str]| {
        let Record::Incident(base) = record(event(1)) else { panic!() };
        let would_allow = tools.iter().map(|tool| (*tool).to_owned()).collect();
        let incident = Incident { reason: reason.into(), would_allow, ..*base };
        let advice = advice(&incident);
        let impossible = advice.remedy.starts_with("No grant can");
        (advice.command, impossible)
    };
    let grant = Some("remit grant fix-42 github --ttl 10m --reason \"…\"".to_owned());
    for reason in ["no_tool", "revoked", "expired"] {
        assert_eq!(offers(reason, &["github"]), (grant.clone(), false), "{reason}");
        assert_eq!(offers(reason, &[]).0, None, "{reason}");
    }
    for reason in ["explicit_deny", "conflict", "taint", "guard", "unresolved"] {
        assert_eq!(offers(reason, &["github"]), (None, true), "{reason}");
    }
    assert_eq!(offers("quarantined", &[]), (Some("remit session resume fix-42".to_owned()), true));
    assert_eq!(
        offers("ancestor", &["github"]).0.unwrap(),
        "remit grant 0000000000000029 github --ttl 10m --reason \"…\""
    );
}

#[test]
fn path_with_escape_sequences_reaches_no_terminal() {
    let evil = record(Event {
        operation: Operation::FileOpen,
        object: Object::Path(b"/w/\x1b]0;owned\x07\n".to_vec()),
        comm: b"\x1b[2J".to_vec(),
        ..event(1)
    });
    for shown in [detail(&evil, Colour::Never), list([&evil], Colour::Never)] {
        assert!(!shown.contains('\x1b') && !shown.contains('\x07'), "{shown}");
    }
}

#[test]
fn text_is_coloured_only_on_request() {
    let record = record(event(1));
    assert!(line(&record, Widths::default(), Colour::Ansi).starts_with("\x1b[31m"));
    assert!(!line(&record, Widths::default(), Colour::Never).contains('\x1b'));
}
