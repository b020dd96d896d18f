//! Who may connect, and what a look-only socket refuses.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::{TestDaemon, code, fresh_socket};
use crate::{
    api::{
        client::Client,
        server,
        wire::{Command, ErrorCode},
    },
    config::Access,
};

#[tokio::test]
async fn read_only_socket_answers_questions_and_refuses_changes() {
    let daemon = TestDaemon::start();
    let path = fresh_socket();
    let listener = server::bind(&path, &Access::default()).unwrap().start();
    let router = server::read_only(daemon.handle.clone());
    let served = tokio::spawn(server::serve(
        listener.unwrap(),
        router,
        std::future::pending(),
    ));
    let client = Client::new(&path);
    assert_eq!(client.services().await.unwrap(), []);
    client.events(None).await.unwrap();
    let refused = client.apply(&[Command::Flush]).await.unwrap_err();
    assert!(
        refused.to_string().contains("only answers questions"),
        "{refused}"
    );
    assert_eq!(code(refused), ErrorCode::ReadOnly);
    let dry = crate::api::wire::ApplyQuery {
        dry_run: true,
        ..Default::default()
    };
    let refused = client.put_file(String::new(), &dry).await.unwrap_err();
    assert_eq!(code(refused), ErrorCode::ReadOnly);
    served.abort();
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn socket_has_the_mode_and_the_group_it_is_given() {
    let cases = [(None, 0o600), (Some(0o660), 0o660), (Some(0o666), 0o666)];
    for (mode, expected) in cases {
        let path = fresh_socket();
        let access = Access { mode, group: None };
        let listening = server::bind(&path, &access).unwrap();
        let is = std::fs::metadata(&path).unwrap();
        assert_eq!(is.permissions().mode() & 0o777, expected);
        drop(listening);
        std::fs::remove_file(path).unwrap();
    }
    // The process's own group can be given without further rights.
    let own = nix::unistd::getgid();
    let group = nix::unistd::Group::from_gid(own).unwrap().unwrap();
    let path = fresh_socket();
    let access = Access {
        mode: Some(0o660),
        group: Some(group.name),
    };
    let listening = server::bind(&path, &access).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().gid(), own.as_raw());
    drop(listening);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn unknown_group_is_named_and_leaves_no_socket() {
    let path = fresh_socket();
    let access = Access {
        mode: None,
        group: Some("nobody-has-this-group".to_owned()),
    };
    let refused = server::bind(&path, &access).unwrap_err();
    assert!(
        refused.to_string().contains("nobody-has-this-group"),
        "{refused}"
    );
    assert!(!path.exists());
}
