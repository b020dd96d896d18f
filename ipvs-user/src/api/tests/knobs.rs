//! Knobs, timeouts, and the switches of a service over the socket.

use super::{
    super::wire::{SysctlChanges, SysctlValue, TimeoutChanges},
    *,
};

fn number(n: i64) -> SysctlValue {
    SysctlValue::Number(n)
}

fn changes(each: &[(&str, SysctlValue)]) -> SysctlChanges {
    let owned = each.iter().map(|(name, v)| ((*name).to_owned(), v.clone()));
    owned.collect()
}

/// A request with a body as text, the answer as text.
async fn send(daemon: &TestDaemon, method: &str, resource: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("{method} /v1/{resource} HTTP/1.1\r\nhost: x\r\nconnection: close");
    raw(
        daemon,
        &format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}"),
    )
    .await
}

#[tokio::test]
async fn knobs_are_set_whether_in_numbers_or_in_words() {
    let daemon = TestDaemon::start();
    let text = SysctlValue::Text("1".to_owned());
    let both = changes(&[("sloppy_tcp", text), ("amemthresh", number(5))]);
    daemon.client.set_sysctls(&both).await.unwrap();
    let all = daemon.client.sysctls().await.unwrap();
    let knob = |name: &str| all.iter().find(|s| s.name == name).unwrap();
    assert_eq!(knob("sloppy_tcp").value, "1");
    assert_eq!(
        (
            knob("amemthresh").value.as_str(),
            knob("amemthresh").default.as_str()
        ),
        ("5", "1024")
    );
    assert_eq!(knob("secure_tcp").range, "0 to 3");
    assert!(knob("conntrack").why_not.is_some() && knob("sloppy_tcp").why_not.is_none());
}

#[tokio::test]
async fn a_knob_that_is_refused_takes_the_others_with_it() {
    let daemon = TestDaemon::start();
    for (name, value, expected) in [
        ("sloppy", number(1), ErrorCode::UnknownSysctl),
        ("secure_tcp", number(4), ErrorCode::Range),
        ("secure_tcp", number(-1), ErrorCode::Range),
        ("conntrack", number(1), ErrorCode::DoesNotApply),
    ] {
        let both = changes(&[("cache_bypass", number(1)), (name, value)]);
        let refused = daemon.client.set_sysctls(&both).await.unwrap_err();
        assert!(refused.to_string().ends_with("; none of the 2 was set"));
        assert_eq!(code(refused), expected, "{name}");
    }
    let all = daemon.client.sysctls().await.unwrap();
    assert!(all.iter().all(|s| s.value == s.default));
}

#[tokio::test]
async fn what_is_no_object_of_knobs_is_a_bad_request() {
    let daemon = TestDaemon::start();
    for body in ["[]", "{", r#"{"sloppy_tcp": true}"#] {
        let answer = send(&daemon, "PATCH", "sysctl", body).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
    }
}

#[tokio::test]
async fn timeouts_are_set_one_by_one() {
    let daemon = TestDaemon::start();
    let udp = TimeoutChanges {
        udp: Some(100),
        ..TimeoutChanges::default()
    };
    daemon.client.set_timeouts(udp).await.unwrap();
    let answer = send(&daemon, "GET", "timeouts", "").await;
    assert!(
        answer.ends_with(r#"{"tcp":900,"tcp_fin":120,"udp":100}"#),
        "{answer}"
    );
    let none = TimeoutChanges {
        tcp: Some(0),
        ..TimeoutChanges::default()
    };
    let refused = daemon.client.set_timeouts(none).await.unwrap_err();
    assert_eq!(code(refused), ErrorCode::Range);
    let answer = send(&daemon, "PATCH", "timeouts", r#"{"tpc": 5}"#).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn an_edit_that_says_nothing_of_policies_keeps_them() {
    let daemon = TestDaemon::start();
    let spec = ServiceSpec {
        on_dead: Some(OnDead::Reschedule),
        templates_die: Some(true),
        ..rr()
    };
    let service = web();
    let add = Command::AddService {
        service,
        spec: spec.clone(),
    };
    daemon.client.apply(&[add]).await.unwrap();
    let listed = || async { daemon.client.service(web()).await.unwrap().spec };
    assert_eq!(
        listed().await,
        ServiceSpec {
            reopen: Some(false),
            ..spec.clone()
        }
    );
    let edit = |spec| Command::EditService { service, spec };
    daemon.client.apply(&[edit(rr())]).await.unwrap();
    assert_eq!(listed().await.on_dead, Some(OnDead::Reschedule));
    let one = ServiceSpec {
        on_dead: Some(OnDead::Kernel),
        reopen: Some(true),
        ..rr()
    };
    daemon.client.apply(&[edit(one)]).await.unwrap();
    let after = ServiceSpec {
        reopen: Some(true),
        templates_die: Some(true),
        ..shown(rr())
    };
    assert_eq!(listed().await, after);
}

#[tokio::test]
async fn flags_are_shown_as_the_scheduler_calls_them_and_gone_after_an_edit_without() {
    let daemon = TestDaemon::start();
    let service = ServiceId::Udp("203.0.113.10:53".parse().unwrap());
    let spec = ServiceSpec {
        one_packet: true,
        sched_flags: vec!["flag-2".to_owned(), "flag-3".to_owned()],
        ..ServiceSpec::new("sh")
    };
    let add = Command::AddService { service, spec };
    daemon.client.apply(&[add]).await.unwrap();
    let listed = daemon.client.service(service).await.unwrap().spec;
    assert!(listed.one_packet);
    assert_eq!(listed.sched_flags, ["sh-port", "flag-3"]);
    let spec = ServiceSpec::new("sh");
    let edit = Command::EditService { service, spec };
    daemon.client.apply(&[edit]).await.unwrap();
    let listed = daemon.client.service(service).await.unwrap().spec;
    assert_eq!(listed, shown(ServiceSpec::new("sh")));
}

#[tokio::test]
async fn flags_that_do_not_fit_are_refused() {
    let daemon = TestDaemon::start();
    let flagged = ServiceSpec {
        sched_flags: vec!["mh-port".to_owned()],
        ..rr()
    };
    let one_packet = ServiceSpec {
        one_packet: true,
        ..rr()
    };
    for spec in [flagged, one_packet] {
        let add = Command::AddService {
            service: web(),
            spec,
        };
        let refused = daemon.client.apply(&[add]).await.unwrap_err();
        assert_eq!(code(refused), ErrorCode::Invalid);
    }
}
