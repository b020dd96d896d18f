//! What is left of it: nothing.

use std::fs;

use anyhow::{Result, ensure};
use ipvs_tests::topology::{Netns, within};

use crate::{
    machine::{Machine, same},
    tunnels::settled,
};

fn machine() -> Result<Machine> {
    let netns = Netns::new("real")?;
    netns.ip("link add eth0 type veth peer name far0\n\
         link add eth1 type veth peer name far1\n\
         addr add 10.0.1.5/24 dev eth0\n\
         addr add 10.0.2.5/24 dev eth1\n\
         addr add 2001:db8:1::5/64 dev eth0 nodad\n\
         link set eth0 up\n\
         link set far0 up\n\
         link set eth1 up\n\
         link set far1 up\n\
         route add default via 10.0.1.1\n")?;
    settled(&netns)?;
    Machine::new(&netns)
}

#[test]
fn undo_leaves_the_machine_as_it_was() {
    within(60, || {
        let machine = machine()?;
        machine.netns().set("ipv4/conf/all/rp_filter", "1")?;
        machine.netns().set("ipv4/conf/all/arp_announce", "1")?;
        let before = machine.all()?;
        for arguments in [
            "--vip 10.0.0.5 --vip 2001:db8::5 --method dr",
            "--vip 10.0.0.5 --method dr --director 10.0.2.1",
            "--vip 10.0.0.5 --vip 2001:db8::5 --method tunnel --tunnel-type gre",
            "--vip 10.0.0.5 --method tunnel --unpack xdp",
        ] {
            let would = machine.run(&format!("{arguments} --dry-run"))?;
            same(&before, &machine.all()?)?;
            ensure!(!machine.state().exists(), "a dry run wrote");
            let done = machine.run(arguments)?;
            ensure!(
                would.replace("would change", "changed") == done,
                "{would}{done}"
            );
            ensure!(same(&before, &machine.all()?).is_err(), "nothing was done");
            machine.run("--check")?;
            let twice = machine.all()?;
            let again = machine.run(arguments)?;
            ensure!(again.starts_with("nothing to change\n"), "{again}");
            same(&twice, &machine.all()?)?;
            machine.run("--undo")?;
            same(&before, &machine.all()?)?;
            ensure!(!machine.state().exists(), "the state file is left");
        }
        ensure!(machine.run("--undo")? == "nothing to undo\n");
        Ok(())
    });
}

#[test]
fn addresses_that_were_there_before_stay() {
    within(60, || {
        let machine = machine()?;
        machine.netns().ip("addr add 10.0.0.5/32 dev lo")?;
        machine.netns().set("ipv4/conf/all/arp_ignore", "1")?;
        let before = machine.all()?;
        let said = machine.run("--vip 10.0.0.5 --vip 10.0.0.6 --method dr")?;
        ensure!(
            !said.contains("10.0.0.5/32") && !said.contains("arp_ignore"),
            "{said}"
        );
        machine.run("--vip 10.0.0.7 --method dr")?;
        machine.run("--undo")?;
        same(&before, &machine.all()?)
    });
}

#[test]
fn interface_that_is_gone_is_no_hindrance() {
    within(60, || {
        let machine = machine()?;
        machine.netns().set("ipv4/conf/all/rp_filter", "1")?;
        let tunnel = "--vip 10.0.0.5 --method tunnel --unpack xdp --interface eth1";
        let said = machine.run(tunnel)?;
        ensure!(
            said.contains("net.ipv4.conf.eth1.rp_filter: 0 -> 2"),
            "{said}"
        );
        machine.netns().ip("link del eth1")?;
        let wrong = machine.refused("--check")?;
        ensure!(wrong.contains("wrong"), "{wrong}");
        let before = machine.netns().output("ip", &["addr", "show", "lo"])?;
        ensure!(before.contains("10.0.0.5/32"));
        let undone = machine.run("--undo")?;
        ensure!(
            undone.contains("XDP program on eth1 as it is: it is gone"),
            "{undone}"
        );
        let after = machine.netns().output("ip", &["addr", "show", "lo"])?;
        ensure!(!after.contains("10.0.0.5/32"), "{after}");
        ensure!(machine.netns().get("ipv4/conf/all/arp_ignore")? == "0");
        Ok(())
    });
}

#[test]
fn what_somebody_set_meanwhile_stays() {
    within(60, || {
        let machine = machine()?;
        machine.run("--vip 10.0.0.5 --method dr")?;
        machine.netns().set("ipv4/conf/all/arp_ignore", "2")?;
        machine.run("--check")?;
        let undone = machine.run("--undo")?;
        ensure!(undone.contains("it was set to 2 meanwhile"), "{undone}");
        ensure!(machine.netns().get("ipv4/conf/all/arp_ignore")? == "2");
        ensure!(machine.netns().get("ipv4/conf/all/arp_announce")? == "0");
        Ok(())
    });
}

/// Settings and addresses may be changed; BPF programs may neither be loaded nor looked at.
const WITH_LITTLE: [&str; 4] = [
    "setpriv",
    "--bounding-set=-all,+net_admin",
    "--inh-caps=-all,+net_admin",
    "--ambient-caps=-all,+net_admin",
];

#[test]
fn program_that_the_driver_does_not_take_goes_into_the_stack_and_is_taken_out_of_it() {
    within(60, || {
        let machine = machine()?;
        machine.netns().ip("link add eth2 type bridge\n\
             addr add 10.0.3.5/24 dev eth2\n\
             link set eth2 up\n")?;
        let arguments = "--vip 10.0.0.5 --method tunnel --unpack xdp --interface eth2";
        let said = machine.run(arguments)?;
        ensure!(
            said.contains("(in the stack: the driver takes none)"),
            "{said}"
        );
        let link = machine.netns().output("ip", &["link", "show", "eth2"])?;
        ensure!(link.contains("xdpgeneric"), "{link}");
        let output = machine.output_of(&WITH_LITTLE, "--check")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("capability CAP_SYS_ADMIN"), "{said}");
        machine.run("--undo")?;
        let link = machine.netns().output("ip", &["link", "show", "eth2"])?;
        ensure!(!link.contains("xdp"), "{link}");
        Ok(())
    });
}

#[test]
fn failure_in_the_middle_undoes_what_was_done() {
    within(60, || {
        let machine = machine()?;
        let before = machine.all()?;
        let arguments = "--vip 10.0.0.5 --method tunnel --unpack xdp";
        let output = machine.output_of(&WITH_LITTLE, arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{said}");
        ensure!(
            said.contains("XDP program on eth0") && said.contains("nothing is changed"),
            "{said}"
        );
        same(&before, &machine.all()?)?;
        ensure!(!machine.state().exists());

        machine.run("--vip 10.0.0.6 --method tunnel --unpack xdp --interface eth0")?;
        // A setting is put right again, and then the program has no room for so many addresses.
        machine.netns().set("ipv4/conf/all/arp_announce", "1")?;
        let (set_up, written) = (machine.all()?, fs::read_to_string(machine.state())?);
        let many = (0..=ipvs_common::unpack::MAX_ADDRESSES).map(|n| {
            let [.., high, low] = n.to_be_bytes();
            format!("--vip 10.9.{high}.{low} ")
        });
        let many: String = many.collect();
        let said = machine.refused(&format!(
            "{many}--method tunnel --unpack xdp --interface eth0"
        ))?;
        ensure!(
            said.contains("has room for") && said.contains("nothing is changed"),
            "{said}"
        );
        same(&set_up, &machine.all()?)?;
        ensure!(
            fs::read_to_string(machine.state())? == written,
            "another state is written down"
        );
        Ok(())
    });
}

#[test]
fn check_tells_what_is_wrong_by_its_status() {
    within(60, || {
        let machine = machine()?;
        let asked = "--vip 10.0.0.5 --method dr --check";
        let output = machine.output(asked)?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.code() == Some(1), "{said}");
        for wrong in [
            "wrong  net.ipv4.conf.all.arp_ignore: 0, needed: 1\n",
            "wrong  net.ipv4.conf.all.arp_announce: 0, needed: 2\n",
            "wrong  address 10.0.0.5/32 on lo: absent, needed: there\n",
        ] {
            ensure!(said.contains(wrong), "{said}");
        }
        machine.run("--vip 10.0.0.5 --method dr")?;
        machine.netns().ip("addr del 10.0.0.5/32 dev lo")?;
        let output = machine.output("--check")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.code() == Some(1) && said.matches("wrong").count() == 1,
            "{said}"
        );
        // The same command again, without a word more, sets it right.
        machine.run("")?;
        machine.run("--check").map(drop)
    });
}
