//! Announced connections over the socket.

use super::{
    super::wire::{Expectation, Protocol},
    *,
};

#[tokio::test]
async fn what_was_announced_is_listed_without_a_client_port() {
    let daemon = TestDaemon::start();
    let commands = [add_service(), add("10.0.0.1:80")];
    daemon.client.apply(&commands).await.unwrap();
    let announced = Expectation {
        protocol: Protocol::Tcp,
        client: "198.51.100.1".parse().unwrap(),
        r#virtual: "203.0.113.10:40000".parse().unwrap(),
        service: web(),
        real: "10.0.0.1:40000".parse().unwrap(),
        timeout: 60,
    };
    daemon.client.expect(&announced).await.unwrap();
    let conns = daemon.client.conns().await.unwrap();
    let seen: Vec<_> = conns
        .iter()
        .map(|c| (c.client.to_string(), c.real, c.expires))
        .collect();
    assert_eq!(
        seen,
        [("198.51.100.1:0".to_owned(), announced.real.into(), 60)]
    );

    let refusal = |e: Expectation| {
        let client = &daemon.client;
        async move { code(client.expect(&e).await.unwrap_err()) }
    };
    let service = ServiceId::Udp("203.0.113.10:80".parse().unwrap());
    let of_nobody = Expectation {
        service,
        ..announced
    };
    assert_eq!(refusal(of_nobody).await, ErrorCode::ServiceUndefined);
    let real = "10.0.0.2:40000".parse().unwrap();
    let to_nobody = Expectation { real, ..announced };
    assert_eq!(refusal(to_nobody).await, ErrorCode::NoDest);
    let timeout = 0;
    let at_no_time = Expectation {
        timeout,
        ..announced
    };
    assert_eq!(refusal(at_no_time).await, ErrorCode::Range);
}
