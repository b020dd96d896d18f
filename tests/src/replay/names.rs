//! Names as the recorded machine knew them: its `/etc/services`, no resolver. It must not ask the network: a server that
//! does not answer would have every listing wait for it.

use std::net::{IpAddr, Ipv4Addr};

use ipvs_user::ipvsadm::{Names, System, Transport};

pub(super) struct Recorded;

impl Names for Recorded {
    fn address(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn port(&self, service: &str, transport: Transport) -> Option<u16> {
        System.port(service, transport)
    }

    fn host(&self, _: IpAddr) -> Option<String> {
        None
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        System.service(port, transport)
    }
}
