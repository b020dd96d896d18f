//! What `-h` and `-v` say.

use ipvs_common::Scheduler;

pub(super) fn version(program: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{program} v1.31 (of ipvsd {version}, as IPVS v1.2.1)\n")
}

pub(super) fn usage(program: &str) -> String {
    let schedulers = Scheduler::NAMES.join("|");
    let head = version(program);
    format!(
        "{head}Usage:
  {program} -A|E virtual-service [-s scheduler] [-p [timeout]] [-M netmask] [--pe engine] [-o] [-b flags]
  {program} -D virtual-service
  {program} -C
  {program} -a|e virtual-service -r server-address [options]
  {program} -d virtual-service -r server-address
  {program} -L|l [virtual-service] [options]
  {program} -S [-n]
  {program} -R [--partial]
  {program} -Z [virtual-service]
  {program} --set tcp tcpfin udp
  {program} --start-daemon master|backup [daemon options]
  {program} --stop-daemon master|backup
  {program} -h

Commands, in either form:
  --add-service     -A        add a virtual service
  --edit-service    -E        edit a virtual service
  --delete-service  -D        delete a virtual service
  --clear           -C        delete all virtual services
  --add-server      -a        add a real server
  --edit-server     -e        edit a real server
  --delete-server   -d        delete a real server
  --list            -L|-l     list the table (also without any command)
  --save            -S        print the table as commands
  --restore         -R        carry out the commands on the standard input, one a line: all of them or none;
                              with --partial one after the other, up to the first that is wrong
  --zero            -Z        start counters and rates over, of one service or of all
  --set tcp tcpfin udp        set timeouts in seconds; 0 leaves one as it is
  --start-daemon              start a sync daemon
  --stop-daemon               stop it
  --help            -h        print this
  --version         -v        print the version

virtual-service:
  --tcp-service|-t  service-address   host[:port]
  --udp-service|-u  service-address   host[:port]
  --sctp-service    service-address   host[:port]
  --fwmark-service|-f fwmark          integer greater than zero
  --ipv6|-6                           ... whose packets are IPv6
  A host is a name, 10.0.0.5, or [2001:db8::5] with its brackets.

Options:
  --scheduler    -s scheduler         {schedulers}; without it {default}
  --persistent   -p [timeout]         persistent, for 360 seconds if nothing else is said
  --netmask      -M netmask           persistent by networks of this mask; over IPv6 a prefix length
  --pe           engine               find the client in the packet: sip
  --ops          -o                   one-packet scheduling, for UDP and firewall marks
  --sched-flags  -b flags             the scheduler's own flags, with commas:
                                      sh-fallback, sh-port, mh-fallback, mh-port, flag-1 to flag-3
  --real-server  -r server-address    host[:port]
  --gatewaying   -g                   direct routing (without a method: this one)
  --ipip         -i                   tunnel (IP in IP)
  --masquerading -m                   network address translation
  --tun-type     type                 the kind of tunnel: ipip (without it), gue, gre
  --tun-port     port                 UDP port of gue
  --tun-nocsum, --tun-csum, --tun-remcsum
                                      checksum of gue and gre: none (without it), full, remote (gue)
  --weight       -w weight            share of the real server, 0 for no new connections
  --u-threshold  -x connections       overloaded from so many on, 0 for never
  --l-threshold  -y connections       overloaded no more below so many
  --connection   -c                   list the connections
  --timeout                           list the timeouts (tcp tcpfin udp)
  --daemon                            list the sync daemons
  --stats                             list the traffic
  --rate                              list the traffic of a second
  --exact                             ... in full numbers
  --thresholds                        list the thresholds
  --persistent-conn                   list the persistent connections
  --tun-info                          list the kinds of tunnels
  --sort                              does nothing
  --nosort                            list in the order of the table
  --numeric      -n                   addresses and ports in digits

Daemon options:
  --mcast-interface interface         without it eth0
  --syncid       number               0 to 255, without it 0
  --sync-maxlen  bytes                of a message
  --mcast-group  address              without it 224.0.0.81
  --mcast-port   port                 without it 8848
  --mcast-ttl    hops                 without it 1

The socket of the daemon is {socket}, or what {variable} says.
",
        default = Scheduler::DEFAULT.name(),
        socket = crate::api::socket_path().display(),
        variable = crate::api::SOCKET_VARIABLE,
    )
}
