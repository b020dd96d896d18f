//! Traces of the kernel's own ip_vs, replayed into the datapath on the host and the director over it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

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
        panic!(
            "{name}: {} differences; the first: {first}",
            differences.len()
        );
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

#[test]
fn wlc_choices_are_the_kernels() {
    assert_same("wlc_1_2_3");
}

#[test]
fn wlc_choices_with_closed_connections_are_the_kernels() {
    assert_same("wlc_1_1_1_close");
}

#[test]
fn lblc_choices_for_inactive_connections_are_the_kernels() {
    assert_same("lblc_inactive");
}

#[test]
fn lblc_choices_under_overload_are_the_kernels() {
    assert_same("lblc_overload");
}

#[test]
fn rr_choices_around_changes_are_the_kernels() {
    assert_same("rr_order_add_del");
}

#[test]
fn port_0_persistence_is_the_kernels() {
    assert_same("persist_port0");
}

#[test]
fn template_with_a_spent_timer_is_the_kernels() {
    assert_same("persist_template_n_control");
}

#[test]
fn firewall_mark_service_is_the_kernels() {
    assert_same("fwmark_svc_ports");
}

#[test]
fn deleted_dest_in_mid_flow_is_the_kernels() {
    assert_same("midflow_delete_nodest0");
}

#[test]
fn quiesced_dest_in_mid_flow_is_the_kernels() {
    assert_same("midflow_weight0_nodest0");
}

#[test]
fn deleted_service_in_mid_flow_is_the_kernels() {
    assert_same("service_delete_midflow");
}

#[test]
fn length_limits_are_the_kernels() {
    assert_same("mtu_dr_nat");
}

#[test]
fn answer_without_real_servers_is_the_kernels() {
    assert_same("no_real_server");
}

#[test]
fn repeated_syn_is_the_kernels() {
    assert_same("syn_retransmit");
}

#[test]
fn syn_on_a_closed_connection_is_the_kernels() {
    assert_same("syn_reuse_mode1");
}

#[test]
fn thresholds_are_the_kernels() {
    assert_same("thresholds_x3_y1");
}

#[test]
fn time_to_live_is_the_kernels() {
    assert_same("ttl");
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
