//! Traces of the kernel's own ip_vs, replayed into the real programs in the kernel. Needs root.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use ipvs_common::AttachMode;
use ipvs_tests::{
    backend::{Kernel, in_network},
    replay::{replay, setup},
    trace::Trace,
};

fn assert_same(name: &str, mode: AttachMode) {
    let trace = Trace::of(name).unwrap();
    let mut setup = setup(&trace).unwrap();
    setup.mode = mode;
    let network = setup.network.clone();
    let differences = in_network(&network, || replay(&trace, &mut Kernel::load(setup)?));
    let differences = differences.unwrap_or_else(|e| panic!("{name}: {e:#}"));
    if let Some(first) = differences.first() {
        let count = differences.len();
        panic!("{name} ({mode:?}): {count} differences; the first: {first}");
    }
}

fn assert_same_in_both_modes(name: &str) {
    assert_same(name, AttachMode::Native);
    assert_same(name, AttachMode::Generic);
}

#[test]
fn direct_routing_is_the_kernels() {
    assert_same_in_both_modes("dr_tcp_rr");
}

#[test]
fn masquerading_is_the_kernels() {
    assert_same_in_both_modes("nat_tcp_port_25_26");
}

#[test]
fn tunneling_is_the_kernels() {
    assert_same_in_both_modes("tun_ipip");
}

#[test]
fn udp_is_the_kernels() {
    assert_same_in_both_modes("udp_rr");
}

#[test]
fn lblc_is_the_kernels() {
    assert_same_in_both_modes("lblc_basic");
}

#[test]
fn persistence_is_the_kernels() {
    assert_same_in_both_modes("persist_default");
}

#[test]
fn wlc_choices_are_the_kernels() {
    assert_same_in_both_modes("wlc_1_2_3");
}

#[test]
fn wlc_choices_with_closed_connections_are_the_kernels() {
    assert_same_in_both_modes("wlc_1_1_1_close");
}

#[test]
fn lblc_choices_for_inactive_connections_are_the_kernels() {
    assert_same_in_both_modes("lblc_inactive");
}

#[test]
fn lblc_choices_under_overload_are_the_kernels() {
    assert_same_in_both_modes("lblc_overload");
}

#[test]
fn rr_choices_around_changes_are_the_kernels() {
    assert_same_in_both_modes("rr_order_add_del");
}

#[test]
fn port_0_persistence_is_the_kernels() {
    assert_same_in_both_modes("persist_port0");
}

#[test]
fn template_with_a_spent_timer_is_the_kernels() {
    assert_same_in_both_modes("persist_template_n_control");
}

#[test]
fn firewall_mark_service_is_the_kernels() {
    assert_same_in_both_modes("fwmark_svc_ports");
}

#[test]
fn deleted_dest_in_mid_flow_is_the_kernels() {
    assert_same_in_both_modes("midflow_delete_nodest0");
}

#[test]
fn quiesced_dest_in_mid_flow_is_the_kernels() {
    assert_same_in_both_modes("midflow_weight0_nodest0");
}

#[test]
fn deleted_service_in_mid_flow_is_the_kernels() {
    assert_same_in_both_modes("service_delete_midflow");
}

#[test]
fn length_limits_are_the_kernels() {
    assert_same_in_both_modes("mtu_dr_nat");
}

#[test]
fn answer_without_real_servers_is_the_kernels() {
    assert_same_in_both_modes("no_real_server");
}

#[test]
fn repeated_syn_is_the_kernels() {
    assert_same_in_both_modes("syn_retransmit");
}

#[test]
fn syn_on_a_closed_connection_is_the_kernels() {
    assert_same_in_both_modes("syn_reuse_mode1");
}

#[test]
fn thresholds_are_the_kernels() {
    assert_same_in_both_modes("thresholds_x3_y1");
}

#[test]
fn time_to_live_is_the_kernels() {
    assert_same_in_both_modes("ttl");
}
