//! Source addresses of tunnels, as routes come and go and methods change.

use super::*;

const FIRST: Option<[u8; 4]> = Some([192, 0, 2, 1]);
const SECOND: Option<[u8; 4]> = Some([192, 0, 2, 9]);

/// A director whose routes give this address; a tunnel is real server 0, another method's 1.
struct Routed {
    director: Director,
    tables: Arc<Mutex<HostTables>>,
    address: Arc<Mutex<Option<[u8; 4]>>>,
}

impl Routed {
    fn new() -> Self {
        let tables = Arc::new(Mutex::new(HostTables::new(Capacities::SMALL, HZ)));
        let address = Arc::new(Mutex::new(FIRST));
        let source = Arc::clone(&address);
        let resolve = move |_| source.lock().unwrap().map(Addr::v4);
        let dataplane = HostDataplane::new(Arc::clone(&tables));
        let mut director = Director::new(Box::new(dataplane), Box::new(resolve)).unwrap();
        let service = web();
        let spec = ServiceSpec::new(Scheduler::Rr);
        let tunnel = Command::AddDest {
            service,
            dest: real(1),
            spec: DestSpec::new(ForwardingMethod::Tunnel, 1),
        };
        director
            .execute_all(&[Command::AddService { service, spec }, tunnel, add(2)])
            .unwrap();
        Self {
            director,
            tables,
            address,
        }
    }

    fn route(&self, address: Option<[u8; 4]>) {
        *self.address.lock().unwrap() = address;
    }

    /// As `ipvsadm -e -w 0` without a method does it.
    fn edit_to_droute(&mut self) {
        let spec = DestSpec::new(ForwardingMethod::Droute, 0);
        let edit = Command::EditDest {
            service: web(),
            dest: real(1),
            spec,
        };
        self.director.execute(&edit).unwrap();
    }

    fn sources(&self) -> [Option<[u8; 4]>; 2] {
        [0, 1].map(|id: usize| {
            let source = self.tables.lock().unwrap().dests[id].tunnel_src;
            (source != Addr::UNSPECIFIED).then(|| source.low4())
        })
    }
}

#[test]
fn changed_routes_renew_sources_and_the_epoch() {
    let mut r = Routed::new();
    assert_eq!(r.sources(), [FIRST; 2]);
    let epoch = r.director.settings().epoch;
    r.route(SECOND);
    r.director.routes_changed().unwrap();
    assert_eq!(r.sources(), [SECOND; 2]);
    assert_eq!(r.tables.lock().unwrap().settings.epoch, epoch + 1);
}

#[test]
fn live_tunnels_keep_their_source_when_the_method_is_edited() {
    let mut r = Routed::new();
    r.edit_to_droute();
    assert_eq!(r.sources()[0], FIRST);
    r.route(SECOND);
    r.director.routes_changed().unwrap();
    assert_eq!(r.sources()[0], SECOND);
}

#[test]
fn without_a_route_the_last_source_stays() {
    let mut r = Routed::new();
    r.route(None);
    r.director.routes_changed().unwrap();
    assert_eq!(r.sources(), [FIRST; 2]);
    r.edit_to_droute();
    assert_eq!(r.sources(), [FIRST; 2]);
}
