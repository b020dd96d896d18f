//! What the kernel could do for a tunnel, without having it load a module to find out.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    kernel,
    real_server::{facts::Link, wanted::Device},
};

/// Devices that the kernel has, or has a module for.
pub(super) fn devices(links: &[Link]) -> BTreeSet<Device> {
    let has = |device: &Device| {
        links.iter().any(|l| l.kind == device.kind())
            || is_loaded(device.module())
            || is_built_in(device.module())
            || waits(device.module())
    };
    Device::ALL.into_iter().filter(has).collect()
}

/// There is a module of this name, which is not loaded.
pub(super) fn waits(module: &str) -> bool {
    !is_loaded(module) && listed("modules.dep", module)
}

fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

fn is_built_in(module: &str) -> bool {
    listed("modules.builtin", module)
}

fn listed(list: &str, module: &str) -> bool {
    let path = Path::new("/lib/modules").join(kernel::release()).join(list);
    fs::read_to_string(path).is_ok_and(|text| names(&text, module))
}

/// Lines of `kernel/net/ipv4/ipip.ko.xz: …`.
fn names(list: &str, module: &str) -> bool {
    let paths = list.lines().filter_map(|l| l.split(':').next());
    let files = paths.filter_map(|path| path.rsplit('/').next());
    files
        .filter_map(|file| file.split_once(".ko"))
        .any(|(name, _)| name == module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_their_files_names() {
        let list = "kernel/net/ipv4/ipip.ko.xz: kernel/net/ipv4/ip_tunnel.ko.xz\n\
             kernel/net/ipv4/ip_gre.ko: kernel/net/ipv4/gre.ko\n";
        assert!(names(list, "ipip") && names(list, "ip_gre"));
        assert!(!names(list, "gre") && !names(list, "ip_tunnel") && !names(list, "ip"));
    }
}
