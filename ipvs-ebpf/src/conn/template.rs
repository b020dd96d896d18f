//! Persistence templates: a client (network) tied to a real server.

use ipvs_common::{
    Conn, ConnFlags, DestFlags, Event, FlowKey, Service, ServiceFlags, Template, TemplateKey,
};

use crate::{
    exit::NO_DEST,
    parse::Packet,
    sched,
    tables::{DestCounter, Tables},
};

/// What a new connection has to remember of its template: flags and prefix length for its status. Zero without one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Parent {
    pub flags: u8,
    pub prefix: u8,
}

/// The real server of a new connection, and the template that ties it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// [`NO_DEST`] if none is available.
    pub dest: u32,
    pub parent: Parent,
}

/// Asks the template if the service is persistent, else the scheduler.
#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service, p: &Packet) -> Choice {
    let free = Parent::default();
    if service.flags & ServiceFlags::PERSISTENT == 0 {
        return Choice {
            dest: sched::choose(t, service, p.key.dst),
            parent: free,
        };
    }
    let parent = parent_of(service);
    let key = key_of(&p.key, service.mark, parent);
    let dest = join(t, &key);
    if dest != NO_DEST {
        return Choice { dest, parent };
    }
    let chosen = sched::choose(t, service, p.key.dst);
    if chosen == NO_DEST {
        return Choice {
            dest: NO_DEST,
            parent: free,
        };
    }
    let tied = tie(t, &key, service, chosen);
    if tied == NO_DEST {
        // No room for a template must not cost the client its connection.
        return Choice {
            dest: chosen,
            parent: free,
        };
    }
    Choice { dest: tied, parent }
}

#[inline(always)]
fn parent_of(service: &Service) -> Parent {
    let kind = if service.mark != 0 {
        ConnFlags::TEMPLATE_FWMARK
    } else if service.port == [0, 0] {
        ConnFlags::TEMPLATE_PORT0
    } else {
        0
    };
    Parent {
        flags: ConnFlags::CHILD | kind,
        prefix: service.persist_prefix,
    }
}

/// Key of the template of a client's packet.
#[inline(always)]
fn key_of(k: &FlowKey, mark: u32, parent: Parent) -> TemplateKey {
    let client = network(k.src, parent.prefix);
    if parent.flags & ConnFlags::TEMPLATE_FWMARK != 0 {
        return TemplateKey {
            client,
            vip: mark.to_be_bytes(),
            vport: [0, 0],
            proto: 0,
            generation: 0,
        };
    }
    let vport = if parent.flags & ConnFlags::TEMPLATE_PORT0 != 0 {
        [0, 0]
    } else {
        k.dport
    };
    TemplateKey {
        client,
        vip: k.dst,
        vport,
        proto: k.proto,
        generation: 0,
    }
}

#[inline(always)]
fn network(addr: [u8; 4], prefix: u8) -> [u8; 4] {
    let host = 32 - u32::from(prefix.min(32));
    let mask = (u64::from(u32::MAX) << host) as u32;
    (u32::from_be_bytes(addr) & mask).to_be_bytes()
}

/// Takes an existing template if its real server is still there, whatever its weight or load, and restarts its timer.
#[inline(always)]
fn join<T: Tables>(t: &mut T, key: &TemplateKey) -> u32 {
    let Some(entry) = t.template(key) else {
        return NO_DEST;
    };
    let template = t.load_template(entry);
    if t.dest(template.dest)
        .is_none_or(|d| d.flags & DestFlags::AVAILABLE == 0)
    {
        return NO_DEST;
    }
    let expires = t.now() + template.timeout;
    t.set_template_timer(entry, template.timeout, expires);
    t.add_template_children(entry, 1);
    template.dest
}

/// Ties the client to `dest` by a template with one child. Returns the real server that it is tied to now: another CPU may
/// have been faster. [`NO_DEST`]: no room.
#[inline(always)]
fn tie<T: Tables>(t: &mut T, key: &TemplateKey, service: &Service, dest: u32) -> u32 {
    let hz = t.settings().map_or(1, |s| s.hz);
    let timeout = u64::from(service.persist_timeout) * u64::from(hz);
    let expires = t.now() + timeout;
    if let Some(entry) = t.template(key) {
        return take_over(t, key, entry, dest, timeout, expires);
    }
    let template = Template {
        expires,
        dest,
        timeout,
        children: 1,
        assured: 0,
        renamed: 0,
    };
    if t.insert_template(key, &template) {
        t.add(dest, DestCounter::Persistent, 1);
        return dest;
    }
    let joined = join(t, key);
    if joined == NO_DEST {
        t.event(Event::TemplateTableFull);
    }
    joined
}

/// Gives a template whose real server is gone to another one. Only one CPU does, and counts it.
#[inline(always)]
fn take_over<T: Tables>(
    t: &mut T,
    key: &TemplateKey,
    entry: T::TemplateRef,
    dest: u32,
    timeout: u64,
    expires: u64,
) -> u32 {
    let old = t.load_template(entry).dest;
    if old == NO_DEST || !t.swap_template_dest(entry, old, dest) {
        return join(t, key);
    }
    t.restart_template(entry);
    t.set_template_timer(entry, timeout, expires);
    t.add(old, DestCounter::Persistent, -1);
    t.add(dest, DestCounter::Persistent, 1);
    dest
}

/// Ends a template; whoever takes its real server from it counts. False: somebody else did.
#[inline(always)]
pub fn end<T: Tables>(t: &mut T, key: &TemplateKey, entry: T::TemplateRef) -> bool {
    let dest = t.load_template(entry).dest;
    if dest == NO_DEST || !t.swap_template_dest(entry, dest, NO_DEST) {
        return false;
    }
    t.remove_template(key);
    t.add(dest, DestCounter::Persistent, -1);
    true
}

/// A child was pushed out by force: a template that nobody else holds and that never proved itself goes with it.
#[inline(always)]
pub fn abandon<T: Tables>(t: &mut T, key: &FlowKey, conn: &Conn) {
    let parent = Parent {
        flags: conn.status.flags,
        prefix: conn.status.template_prefix,
    };
    let key = key_of(key, conn.mark, parent);
    let Some(entry) = t.template(&key) else {
        return;
    };
    let template = t.load_template(entry);
    if template.dest == conn.dest && template.children == 0 && template.assured == 0 {
        end(t, &key, entry);
    }
}

#[inline(always)]
fn of_child<T: Tables>(t: &mut T, key: &FlowKey, conn: &Conn) -> Option<T::TemplateRef> {
    let parent = Parent {
        flags: conn.status.flags,
        prefix: conn.status.template_prefix,
    };
    let entry = t.template(&key_of(key, conn.mark, parent))?;
    // A template that replaced the connection's own leads elsewhere.
    (t.load_template(entry).dest == conn.dest).then_some(entry)
}

/// A child got established: the template proved itself.
#[inline(always)]
pub fn assure<T: Tables>(t: &mut T, key: &FlowKey, conn: &Conn) {
    if let Some(entry) = of_child(t, key, conn) {
        t.set_template_assured(entry);
    }
}

/// A child ended, or was never born.
#[inline(always)]
pub fn orphan<T: Tables>(t: &mut T, key: &FlowKey, conn: &Conn) {
    if let Some(entry) = of_child(t, key, conn)
        && t.load_template(entry).children > 0
    {
        t.add_template_children(entry, -1);
    }
}
