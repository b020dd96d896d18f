//! As many match rules as there may be, on the host and in the kernel: the same packets go the same ways. Needs root.

use anyhow::{Result, ensure};
use fastrand::Rng;
use ipvs_common::maps::Capacities;
use ipvs_tests::{
    backend::{Backend, Host, Kernel, Setup, Verdict, in_network},
    packet,
    random::{Generator, ten_thousand_rules},
    replay::Console,
    six,
    trace::Network,
};
use ipvs_user::model::{Command, MatchRules};

const PACKETS: usize = 20_000;

/// Two of the marks that rules give have a service.
const COMMANDS: [&str; 6] = [
    "ipvsadm -A -f 7 -s lblc",
    "ipvsadm -a -f 7 -r 10.0.1.10 -g -w 100",
    "ipvsadm -a -f 7 -r 10.0.2.10 -g -w 100",
    "ipvsadm -A -f 8 -s rr -p 60",
    "ipvsadm -a -f 8 -r 10.0.1.11 -i",
    "ipvsadm -a -f 8 -r 10.0.2.12 -m",
];

fn agree(over_six: bool) -> Result<()> {
    let mut setup = Setup::new(Network::load()?);
    setup.capacities = Capacities {
        match_slots: Capacities::DEFAULT.match_slots,
        ..Capacities::SMALL
    };
    let (mut host, mut kernel) = (Host::new(setup.clone()), Kernel::load(setup.clone())?);
    let consoles = [
        Console::new(host.dataplane(), &setup.network)?,
        Console::new(kernel.dataplane(), &setup.network)?,
    ];
    let mut rng = Rng::with_seed(7 + u64::from(over_six));
    let names: Vec<_> = setup.network.links.iter().map(|l| l.name).collect();
    let rules: MatchRules = ten_thousand_rules(&mut rng, &names, over_six).into();
    for console in &consoles {
        for command in COMMANDS {
            let line = if over_six {
                six::command(command)
            } else {
                command.to_owned()
            };
            ensure!(console.run(&line)?.status == 0, "{line}");
        }
        let rules = rules.clone();
        console.director().execute(&Command::SetMatches { rules })?;
    }
    let generator = Generator::new(setup.network.clone(), 3);
    let mut generator = if over_six {
        generator.over_six()
    } else {
        generator
    };
    let mut balanced = 0;
    for number in 0..PACKETS {
        let arrival = generator.arrival();
        let host = host.run(arrival.link, &arrival.frame)?;
        let kernel = kernel.run(arrival.link, &arrival.frame)?;
        ensure!(
            host == kernel,
            "packet {number}: {}: host {:?}, kernel {:?}",
            packet::describe(&arrival.frame),
            host.verdict,
            kernel.verdict
        );
        balanced += usize::from(host.verdict != Verdict::Pass);
    }
    ensure!(balanced > PACKETS / 20, "{balanced} packets were balanced");
    Ok(())
}

#[test]
fn ten_thousand_rules_decide_in_the_kernel_as_on_the_host() {
    let network = Network::load().expect("the network of the traces");
    for over_six in [false, true] {
        let result = in_network(&network, || agree(over_six));
        result.unwrap_or_else(|e| panic!("over IPv6: {over_six}: {e:#}"));
    }
}
