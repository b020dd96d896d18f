//! Which interfaces take frames from a native XDP program, by their drivers: for kernels that do not say it (before 6.3).

use std::fs;

use netlink_packet_route::link::InfoKind;

use super::Link;

/// Modules whose devices do, from Linux 5.18 on: those of Debian's 6.1 that have the function, but those that got it after 5.18.
/// A card without it, such as Xen's backend, drops what it is sent in silence, so who is not listed is spared.
const TAKE_FRAMES: [&str; 14] = [
    "bnxt_en",
    "ena",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "mlx5_core",
    "qede",
    "sfc",
    "stmmac",
    "virtio_net",
    "xen_netfront",
];

/// As far as its driver decides that.
#[must_use]
pub fn takes_frames(link: &Link) -> bool {
    if link.kind.is_empty() {
        return module(&link.name).is_some_and(|module| is_known(&module));
    }
    link.kind == InfoKind::Veth.to_string()
}

fn is_known(module: &str) -> bool {
    let module = module.replace('-', "_");
    TAKE_FRAMES.contains(&module.as_str())
}

/// Of a device's driver. The driver's own name does not always tell: Xen's two ends have the same.
fn module(interface: &str) -> Option<String> {
    let path = format!("/sys/class/net/{interface}/device/driver/module");
    let module = fs::read_link(path).ok()?;
    Some(module.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xen_has_one_end_that_takes_frames_and_one_that_does_not() {
        assert!(is_known("xen-netfront"));
        assert!(!is_known("xen-netback"));
    }
}
