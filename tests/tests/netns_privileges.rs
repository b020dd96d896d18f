//! The daemon keeps no more rights than it needs, and goes on working with those.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::{
    scene::MailServers,
    topology::{CLIENT, Director, Start, Topology, within},
};

/// `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF`.
const KEPT: u64 = 1 << 12 | 1 << 38 | 1 << 39;
const WHAT_IT_TAKES: &str = "+net_admin,+net_raw,+perfmon,+bpf";

/// Of each thread: its name and what it may do, or might.
fn rights(pid: u32) -> Result<Vec<(String, u64)>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.map(str::trim)
                .map(str::to_owned)
                .context("no such line")
        };
        for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            let bits = u64::from_str_radix(&field(set)?, 16)?;
            all.push((format!("{} {set}", field("Name:")?), bits));
        }
    }
    Ok(all)
}

fn file(third: &str) -> String {
    format!(
        "[[service]]\ntcp = '10.0.0.5:25'\nscheduler = 'rr'\n\
         [[service.real]]\naddress = '10.0.1.5:25'\nmethod = 'masq'\n\
         [[service.real]]\naddress = '10.0.1.6:26'\nmethod = 'masq'\n{third}"
    )
}

fn works_with(start: Start) {
    within(90, move || {
        let net = Topology::new()?;
        let servers = MailServers::start(&net, [25, 26])?;
        let start = Start {
            config: Some(file("")),
            ..start
        };
        let director = Director::start(&net.dom0, &start)?;
        servers.mail(&net, CLIENT, 1 << 20)?;
        let rights = rights(director.pid())?;
        ensure!(rights.len() > 4, "{rights:?}");
        for (whose, bits) in &rights {
            ensure!(bits & !KEPT == 0, "{whose} {bits:x}");
        }
        still_works(&net, &director, &servers)?;
        director.stop()?;
        Ok(())
    });
}

/// What a daemon has to do after its start.
fn still_works(net: &Topology, director: &Director, servers: &MailServers) -> Result<()> {
    director.run("ipvsadm -A -t 10.0.0.5:7 -s rr")?;
    director.run("ipvsadm -a -t 10.0.0.5:7 -r 10.0.1.5 -m")?;
    director.run("ipvsd sysctl sloppy_tcp=1")?;
    director.configure(&file("weight = 3\n"))?;
    let said = director.run("ipvsd reload")?;
    ensure!(said.contains("weight 1 -> 3"), "{said}");
    servers.mail(net, CLIENT, 1 << 20)?;
    // An interface goes, and comes again as another one of the same name.
    net.dom0.ip("link add spare type veth peer name far")?;
    director.configure(&format!("[interface.spare]\n{}", file("weight = 3\n")))?;
    director.run("ipvsd reload")?;
    let attached = || -> Result<bool> {
        let link = net.dom0.output("ip", &["link", "show", "spare"]);
        Ok(link.is_ok_and(|l| l.contains("prog/xdp")))
    };
    ensure!(attached()?, "not attached to a new interface");
    net.dom0.ip("link del spare")?;
    thread::sleep(Duration::from_millis(300));
    net.dom0
        .ip("link add spare type veth peer name far\nlink set spare up")?;
    let start = std::time::Instant::now();
    while !attached()? {
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "{}",
            director.log()
        );
        thread::sleep(Duration::from_millis(50));
    }
    servers.mail(net, CLIENT, 1 << 20)?;
    Ok(())
}

#[test]
fn started_by_root_it_gives_up_the_rest_and_works_on() {
    works_with(Start::default());
}

#[test]
fn started_with_what_it_takes_and_no_more_it_works() {
    works_with(Start {
        capabilities: Some(WHAT_IT_TAKES),
        ..Start::default()
    });
}

/// Nothing of what is there needs more rights to be taken over than to be made, be it `CAP_SYS_ADMIN` to open pins by their
/// numbers or `CAP_DAC_OVERRIDE` to look into directories.
#[test]
fn started_over_what_is_there_it_takes_no_more_than_at_first() {
    within(120, || {
        let net = Topology::new()?;
        let servers = MailServers::start(&net, [25, 26])?;
        let full = Start {
            config: Some(file("")),
            stays: true,
            ..Start::default()
        };
        let few = Start {
            capabilities: Some(WHAT_IT_TAKES),
            ..full.clone()
        };
        let director = Director::start(&net.dom0, &full)?;
        servers.mail(&net, CLIENT, 1 << 20)?;
        let director = director.kill()?.start(&few)?;
        ensure!(director.log().contains("goes on where"), "no pins");
        for (whose, bits) in &rights(director.pid())? {
            ensure!(bits & !KEPT == 0, "{whose} {bits:x}");
        }
        servers.mail(&net, CLIENT, 1 << 20)?;
        still_works(&net, &director, &servers)?;
        // Other tables: the entries are copied.
        let larger = Start {
            config: Some(format!("[director]\nconnections = 9999\n{}", file(""))),
            ..few.clone()
        };
        let director = director.leave()?.start(&larger)?;
        servers.mail(&net, CLIENT, 1 << 20)?;
        // Without the right that is given up after the start the start is refused, and packets flow on.
        let three = Start {
            capabilities: Some("+net_admin,+perfmon,+bpf"),
            ..larger
        };
        let left = director.kill()?;
        let said = left.refusal(&three)?;
        ensure!(said.contains("missing CAP_NET_RAW"), "{said}");
        servers.mail(&net, CLIENT, 1 << 20)?;
        left.start(&few)?.stop()?;
        Ok(())
    });
}

#[test]
fn missing_right_is_named() {
    within(60, || {
        let net = Topology::new()?;
        let start = Start {
            capabilities: Some("+net_admin,+net_raw,+perfmon"),
            ..Start::default()
        };
        let said = Director::refusal(&net.dom0, &start)?;
        ensure!(said.contains("missing CAP_BPF"), "{said}");
        Ok(())
    });
}

/// A socket that others may connect to, and one on which they can only look.
#[test]
fn sockets_have_their_modes_and_the_read_only_one_refuses() {
    within(60, || {
        use std::os::unix::fs::PermissionsExt as _;
        let net = Topology::new()?;
        let look = std::env::temp_dir().join(format!("ipvsd-look-{}", std::process::id()));
        let arguments = [
            "--socket-mode",
            "0660",
            "--read-only-socket",
            &look.display().to_string(),
            "--read-only-mode",
            "0666",
        ];
        let start = Start {
            arguments: arguments.map(str::to_owned).to_vec(),
            ..Start::default()
        };
        let director = Director::start(&net.dom0, &start)?;
        let mode = |path: &std::path::Path| -> Result<u32> {
            Ok(fs::metadata(path)?.permissions().mode() & 0o777)
        };
        ensure!(mode(&director.socket())? == 0o660 && mode(&look)? == 0o666);
        let line = format!("ipvsd sysctl --socket {}", look.display());
        ensure!(director.run(&line)?.contains("sloppy_tcp"));
        let refused = director.refused(&format!("{line} sloppy_tcp=1"))?;
        ensure!(refused.contains("only answers questions"), "{refused}");
        director.stop()?;
        ensure!(!look.exists(), "it is still there");
        Ok(())
    });
}
