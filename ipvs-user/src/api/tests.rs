//! Round trips over a real socket, with the host's tables behind the director.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use ipvs_common::{Addr, maps::Capacities};
use ipvs_datapath::host::HostTables;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{Duration, timeout},
};

use super::{
    client::{Client, ClientError},
    server::{self, Handle},
    wire::{Command, DestSpec, ErrorCode, Method, OnDead, ServiceId, ServiceSpec},
};
use crate::{
    carries::Carries, config::Access, dataplane::host::HostDataplane, director::Director,
    sync::Daemons,
};

mod access;
mod desk;
mod expected;
mod knobs;
mod matches;
mod openapi;
pub(crate) mod random;
mod remembered;
mod state;
mod sync;
mod waiting;

/// A daemon without a datapath, on a socket of its own.
pub(crate) struct TestDaemon {
    pub(crate) tables: Arc<Mutex<HostTables>>,
    pub(crate) director: Arc<Mutex<Director>>,
    pub(crate) client: Client,
    pub(crate) socket: PathBuf,
    handle: Handle,
    sync: Arc<Mutex<Box<dyn Daemons>>>,
    changed: Arc<Notify>,
    server: JoinHandle<()>,
}

impl TestDaemon {
    /// Its connection table has the size of the kernel's.
    pub(crate) fn start() -> Self {
        Self::carrying(Carries::DATAPATH)
    }

    pub(crate) fn carrying(carries: Carries) -> Self {
        Self::with(carries, None)
    }

    /// One that asks for its interfaces.
    fn attaching(daemon: mpsc::Sender<server::Attach>) -> Self {
        Self::with(Carries::DATAPATH, Some(daemon))
    }

    fn with(carries: Carries, attaching: Option<mpsc::Sender<server::Attach>>) -> Self {
        let capacities = Capacities {
            conns: 4096,
            ..Capacities::SMALL
        };
        let tables = Arc::new(Mutex::new(HostTables::new(capacities, 250)));
        let dataplane = HostDataplane::new(Arc::clone(&tables)).carrying(carries);
        let source = Box::new(|_| Some(Addr::v4([192, 0, 2, 1])));
        let director = Director::new(Box::new(dataplane), source).unwrap();
        let socket = fresh_socket();
        let listener = server::bind(&socket, &Access::default())
            .unwrap()
            .start()
            .unwrap();
        let handle = Handle {
            attaching,
            ..Handle::new(director)
        };
        let changed = Arc::clone(&handle.changed);
        let sync = Arc::clone(&handle.sync);
        let director = Arc::clone(&handle.director);
        let served = handle.clone();
        let server = tokio::spawn(async move {
            server::serve(listener, server::router(served), std::future::pending())
                .await
                .unwrap();
        });
        Self {
            tables,
            director,
            client: Client::new(&socket),
            socket,
            handle,
            sync,
            changed,
            server,
        }
    }
}

impl Drop for TestDaemon {
    fn drop(&mut self) {
        self.server.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn fresh_socket() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("ipvsd-test-{}-{n}.sock", std::process::id()))
}

fn web() -> ServiceId {
    ServiceId::Tcp("203.0.113.10:80".parse().unwrap())
}

fn rr() -> ServiceSpec {
    ServiceSpec::new("rr")
}

/// What a listing shows of a service that nothing more was said of.
fn shown(spec: ServiceSpec) -> ServiceSpec {
    ServiceSpec {
        on_dead: Some(OnDead::Kernel),
        reopen: Some(false),
        templates_die: Some(false),
        ..spec
    }
}

fn add_service() -> Command {
    Command::AddService {
        service: web(),
        spec: rr(),
    }
}

fn add(dest: &str) -> Command {
    Command::AddDest {
        service: web(),
        dest: dest.parse().unwrap(),
        spec: DestSpec {
            method: Method::Droute,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: None,
        },
    }
}

fn code(e: ClientError) -> ErrorCode {
    match e {
        ClientError::Refused(e) => e.code,
        other @ (ClientError::NoDaemon { .. } | ClientError::Protocol { .. }) => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_was_added_is_listed() {
    let daemon = TestDaemon::start();
    let commands = [add_service(), add("10.0.0.1:80"), add("10.0.0.2:80")];
    daemon.client.apply(&commands).await.unwrap();
    daemon.tables.lock().unwrap().dest_states[1].active = 3;
    let services = daemon.client.services().await.unwrap();
    assert_eq!(services.len(), 1);
    assert_eq!(
        (services[0].service, &services[0].spec),
        (web(), &shown(rr()))
    );
    let dests: Vec<_> = services[0]
        .dests
        .iter()
        .map(|d| (d.address.to_string(), d.active))
        .collect();
    assert_eq!(
        dests,
        [("10.0.0.2:80".to_owned(), 3), ("10.0.0.1:80".to_owned(), 0)]
    );
    assert_eq!(daemon.client.service(web()).await.unwrap(), services[0]);
    assert_eq!(daemon.client.dests(web()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_list_of_commands_is_carried_out_whole_or_not_at_all() {
    let daemon = TestDaemon::start();
    let commands = [add_service(), add("10.0.0.1:80"), add("10.0.0.1:80")];
    let refused = daemon.client.apply(&commands).await.unwrap_err();
    assert!(
        refused.to_string().starts_with("command 3 of 3: "),
        "{refused}"
    );
    assert_eq!(code(refused), ErrorCode::DestExists);
    assert_eq!(daemon.client.services().await.unwrap(), []);
}

#[tokio::test]
async fn refusals_keep_their_code() {
    let daemon = TestDaemon::start();
    let client = &daemon.client;
    let refusal = |c: Command| async move { code(client.apply(&[c]).await.unwrap_err()) };
    assert_eq!(
        refusal(add("10.0.0.1:80")).await,
        ErrorCode::ServiceUndefined
    );
    assert_eq!(
        refusal(Command::DeleteService { service: web() }).await,
        ErrorCode::NoService
    );
    let spec = ServiceSpec {
        scheduler: "foo".to_owned(),
        ..rr()
    };
    assert_eq!(
        refusal(Command::AddService {
            service: web(),
            spec
        })
        .await,
        ErrorCode::UnknownScheduler
    );
    let spec = ServiceSpec {
        netmask: Some(super::wire::Netmask::Mask("255.0.255.0".parse().unwrap())),
        ..rr()
    };
    assert_eq!(
        refusal(Command::AddService {
            service: web(),
            spec
        })
        .await,
        ErrorCode::Invalid
    );
    client.apply(&[add_service()]).await.unwrap();
    assert_eq!(refusal(add_service()).await, ErrorCode::ServiceExists);
    assert_eq!(refusal(add("224.0.0.1:80")).await, ErrorCode::Invalid);
    let absent = client.service(ServiceId::Fwmark(7.try_into().unwrap()));
    assert_eq!(code(absent.await.unwrap_err()), ErrorCode::NoService);
}

/// A request as text, the answer as text.
async fn raw(daemon: &TestDaemon, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::UnixStream::connect(&daemon.socket)
        .await
        .unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_misspelt_field_is_refused_and_changes_nothing() {
    let daemon = TestDaemon::start();
    let body = r#"[{"add_service":{"service":{"tcp":"203.0.113.10:80"},"spec":{"scheduler":"rr","persistant":5}}}]"#;
    let request = format!(
        "POST /v1/commands HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(&daemon, &request).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(
        answer.contains(r#""code":"bad_request""#) && answer.contains("persistant"),
        "{answer}"
    );
    assert_eq!(daemon.client.services().await.unwrap(), []);
}

#[tokio::test]
async fn every_mistake_is_answered_in_the_same_form() {
    let daemon = TestDaemon::start();
    for resource in ["/v1/nothing", "/v2/services", "/v1/services?tpc=1.2.3.4:80"] {
        let request = format!("GET {resource} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = raw(&daemon, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains(r#""code":"bad_request""#), "{answer}");
    }
}

#[tokio::test]
async fn the_state_of_the_daemon_is_told() {
    let daemon = TestDaemon::start();
    let commands = [add_service(), add("10.0.0.1:80")];
    daemon.client.apply(&commands).await.unwrap();
    daemon.tables.lock().unwrap().reasons[0] = 5;
    daemon.tables.lock().unwrap().dest_stats[0].conns = 4;
    let status = daemon.client.status().await.unwrap();
    assert_eq!((status.services.used, status.dests.used), (1, 1));
    assert_eq!(
        (
            status.timeouts.tcp,
            status.timeouts.tcp_fin,
            status.timeouts.udp
        ),
        (900, 120, 300)
    );
    assert_eq!(daemon.client.stats().await.unwrap().stats.conns, 4);
    let reasons = daemon.client.reasons().await.unwrap();
    assert_eq!((reasons[0].kind.as_str(), reasons[0].count), ("pass", 5));
    assert_eq!(
        daemon.client.version().await.unwrap().connection_table_size,
        4096
    );
}

#[tokio::test]
async fn a_client_without_a_daemon_tells_what_to_do() {
    let socket = fresh_socket();
    let text = Client::new(&socket)
        .services()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.contains(&socket.display().to_string()) && text.contains("Start it"),
        "{text}"
    );
}

#[tokio::test]
async fn a_served_socket_is_not_taken_over_and_a_dead_one_is() {
    let daemon = TestDaemon::start();
    let taken = server::bind(&daemon.socket, &Access::default()).unwrap_err();
    assert!(taken.to_string().contains("another ipvsd"), "{taken}");

    let dead = fresh_socket();
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let listener = server::bind(&dead, &Access::default());
    std::fs::remove_file(&dead).unwrap();
    listener.unwrap();
}

#[tokio::test]
async fn the_socket_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let daemon = TestDaemon::start();
    let mode = std::fs::metadata(&daemon.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn commands_that_were_carried_out_wake_the_daemon_and_refused_ones_do_not() {
    let daemon = TestDaemon::start();
    let woken = || timeout(Duration::from_millis(50), daemon.changed.notified());
    daemon.client.apply(&[add_service()]).await.unwrap();
    assert!(woken().await.is_ok());
    daemon.client.apply(&[add_service()]).await.unwrap_err();
    assert!(woken().await.is_err());
}
