//! Traces of the kernel's own ip_vs, replayed into the datapath on the host and the director over it.

use ipvs_tests::{
    backend::Host,
    replay::{replay, setup},
    trace::Trace,
};

fn assert_same(name: &str) {
    let trace = Trace::of(name).unwrap();
    let mut host = Host::new(setup(&trace).unwrap());
    let differences = replay(&trace, &mut host).unwrap();
    if let Some(first) = differences.first() {
        panic!("{name}: {} differences; the first: {first}", differences.len());
    }
}

#[test]
fn direct_routing_is_the_kernels() {
    assert_same("dr_tcp_rr");
}

#[test]
fn masquerading_is_the_kernels() {
    assert_same("nat_tcp_port_25_26");
}

#[test]
fn tunneling_is_the_kernels() {
    assert_same("tun_ipip");
}

#[test]
fn udp_is_the_kernels() {
    assert_same("udp_rr");
}

#[test]
fn lblc_is_the_kernels() {
    assert_same("lblc_basic");
}

#[test]
fn persistence_is_the_kernels() {
    assert_same("persist_default");
}

/// `IPVS_TRACES=DIR cargo test --test golden -- --ignored --nocapture`
#[test]
#[ignore = "for a folder of traces, named in IPVS_TRACES, of any origin"]
fn every_trace_of_a_folder() {
    let folder = std::env::var("IPVS_TRACES").unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let outcome = Trace::read(&file).and_then(|trace| {
            let mut host = Host::new(setup(&trace)?);
            replay(&trace, &mut host)
        });
        match outcome {
            Err(e) => println!("{name}: cannot be replayed: {e:#}"),
            Ok(d) if d.is_empty() => println!("{name}: same"),
            Ok(d) => println!("{name}: {} differences, first: {}", d.len(), d[0]),
        }
    }
}
