//! Persistence templates: a client (network) tied to a real server.

use ipvs_common::{
    Address, Conn, ConnFlags, DestFlags, Event, FlowKey, Policy, Service, ServiceFlags,
    SettingsFlags, Template, TemplateKey,
};

use super::synced;
use crate::{
    exit::NO_DEST,
    sched,
    service::FTP,
    tables::{DestCounter, Tables},
};

/// What a new connection has to remember of its template. Zero without one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Parent {
    pub flags: u8,
    pub prefix: u8,
    pub generation: u8,
    /// Of the service.
    pub mark: u32,
}

/// The real server of a new connection, and the template that ties it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// [`NO_DEST`] if none is available.
    pub dest: u32,
    pub parent: Parent,
}

/// What [`join`] found, in one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined(pub u64);

impl Joined {
    #[inline(always)]
    const fn new(dest: u32, generation: u8) -> Self {
        Self(dest as u64 | (generation as u64) << 32)
    }

    #[must_use]
    #[inline(always)]
    pub const fn dest(self) -> u32 {
        self.0 as u32
    }

    #[must_use]
    #[inline(always)]
    pub const fn generation(self) -> u8 {
        (self.0 >> 32) as u8
    }
}

/// Asks the template if the service is persistent, else the scheduler.
#[inline(always)]
pub fn choose<T: Tables>(t: &mut T, service: &Service, key: &FlowKey<T::A>) -> Choice {
    let free = Parent::default();
    if service.flags & ServiceFlags::PERSISTENT == 0 {
        return Choice {
            dest: sched::choose(t, service, key),
            parent: free,
        };
    }
    let mut parent = parent_of(service);
    let joined = t.join(service, key);
    parent.generation = joined.generation();
    if joined.dest() != NO_DEST {
        let dest = joined.dest();
        return Choice { dest, parent };
    }
    let chosen = sched::choose(t, service, key);
    if chosen == NO_DEST {
        return Choice {
            dest: NO_DEST,
            parent: free,
        };
    }
    let tied = tie(t, service, key, &mut parent, chosen);
    if tied == NO_DEST {
        // No room for a template must not cost the client its connection.
        return Choice {
            dest: chosen,
            parent: free,
        };
    }
    Choice { dest: tied, parent }
}

#[must_use]
#[inline(always)]
pub const fn parent_of(service: &Service) -> Parent {
    let kind = if service.mark != 0 {
        ConnFlags::TEMPLATE_FWMARK
    } else if matches!(u16::from_be_bytes(service.port), 0 | FTP) {
        // All of a client's FTP goes to one real server.
        ConnFlags::TEMPLATE_PORT0
    } else {
        0
    };
    Parent {
        flags: ConnFlags::CHILD | kind,
        prefix: service.persist_prefix,
        mark: service.mark,
        generation: 0,
    }
}

/// Key of the template of a client's packet.
#[inline(always)]
fn key_of<A: Address>(k: &FlowKey<A>, parent: Parent) -> TemplateKey<A> {
    let client = k.src.network(parent.prefix);
    if parent.flags & ConnFlags::TEMPLATE_FWMARK != 0 {
        return TemplateKey {
            client,
            vip: A::of_number(parent.mark),
            vport: [0, 0],
            proto: 0,
            generation: parent.generation,
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
        generation: parent.generation,
    }
}

/// Takes the client's template if its real server may still be used, and restarts its timer. Weight and load of the real server
/// do not matter, unless the settings or the service say so.
///
/// A template found unfit is set aside: it stays until its timer ends, but a later generation takes its place. (ip_vs gives it
/// another name.) [`NO_DEST`]: the generation is that of the one to be made.
#[inline(always)]
pub fn join<T: Tables>(t: &mut T, service: &Service, flow: &FlowKey<T::A>) -> Joined {
    let mut parent = parent_of(service);
    // The first place of one that ended and is kept for the sake of later ones.
    let mut vacant = TemplateKey::GENERATIONS;
    for generation in 0..TemplateKey::GENERATIONS {
        parent.generation = generation;
        let key = key_of(flow, parent);
        let Some(entry) = t.template(&key) else {
            return Joined::new(NO_DEST, vacant.min(generation));
        };
        let template = t.load_template(entry);
        if template.dest == NO_DEST {
            vacant = vacant.min(generation);
            continue;
        }
        if template.renamed != 0 {
            continue;
        }
        if !fit(t, service, template.dest) {
            t.set_template_renamed(entry);
            t.event(Event::TemplateRenamed);
            continue;
        }
        let mut timeout = template.timeout;
        if template.expires <= t.now() {
            // Its timer fired, if nobody looked yet.
            if template.children == 0 {
                end(t, &key, entry);
                return Joined::new(NO_DEST, vacant.min(generation));
            }
            timeout = minute(t);
        }
        let expires = t.now() + timeout;
        t.set_template_timer(entry, timeout, expires);
        t.add_template_children(entry, 1);
        return Joined::new(template.dest, generation);
    }
    Joined::new(NO_DEST, vacant)
}

/// Whether a template may send clients to a real server.
#[inline(always)]
fn fit<T: Tables>(t: &T, service: &Service, id: u32) -> bool {
    let Some(dest) = t.dest(id) else {
        return false;
    };
    if dest.flags & DestFlags::AVAILABLE == 0 {
        return false;
    }
    let quiescent = t.settings().map_or(0, |s| s.flags) & SettingsFlags::EXPIRE_QUIESCENT != 0
        || service.policy & Policy::TEMPLATES_DIE != 0;
    dest.weight != 0 || !quiescent
}

/// A minute in ticks: what a template's timer is set to when it fired with children alive, and kept at (as in ip_vs).
#[inline(always)]
pub fn minute<T: Tables>(t: &T) -> u64 {
    60 * t.settings().map_or(1, |s| u64::from(s.hz))
}

/// Ties the client to `dest` by a template with one child. Returns the real server that it is tied to now: another CPU may
/// have been faster. [`NO_DEST`]: no room.
#[inline(always)]
fn tie<T: Tables>(
    t: &mut T,
    service: &Service,
    flow: &FlowKey<T::A>,
    parent: &mut Parent,
    dest: u32,
) -> u32 {
    if parent.generation >= TemplateKey::GENERATIONS {
        t.event(Event::TemplateTableFull);
        return NO_DEST;
    }
    if tie_new(t, service, flow, *parent, dest) {
        return dest;
    }
    let joined = t.join(service, flow);
    parent.generation = joined.generation();
    if joined.dest() == NO_DEST {
        t.event(Event::TemplateTableFull);
    }
    joined.dest()
}

/// The same, unless there is a template already, or no room.
#[inline(always)]
pub fn tie_new<T: Tables>(
    t: &mut T,
    service: &Service,
    flow: &FlowKey<T::A>,
    parent: Parent,
    dest: u32,
) -> bool {
    if parent.generation >= TemplateKey::GENERATIONS {
        return false;
    }
    let hz = t.settings().map_or(1, |s| s.hz);
    let timeout = u64::from(service.persist_timeout) * u64::from(hz);
    let template = Template {
        expires: t.now() + timeout,
        timeout,
        dest,
        children: 1,
        assured: 0,
        renamed: 0,
        told: 0,
    };
    let key = key_of(flow, parent);
    let put = put(t, &key, &template);
    if put {
        synced::tied(t, &key);
    }
    put
}

/// Enters a template in a place that is free. Only one CPU does.
#[inline(always)]
pub(super) fn put<T: Tables>(t: &mut T, key: &TemplateKey<T::A>, template: &Template) -> bool {
    let put = t.insert_template(key, template) || move_in(t, key, template);
    if put {
        t.add(template.dest, DestCounter::Persistent, 1);
    }
    put
}

/// Takes the place of a template that ended. Only one CPU does.
#[inline(always)]
fn move_in<T: Tables>(t: &mut T, key: &TemplateKey<T::A>, template: &Template) -> bool {
    let Some(entry) = t.template(key) else {
        return false;
    };
    if !t.swap_template_dest(entry, NO_DEST, template.dest) {
        return false;
    }
    t.set_template_timer(entry, template.timeout, template.expires);
    t.restart_template(entry);
    if template.children == 0 {
        t.add_template_children(entry, -1);
    }
    true
}

/// Ends a template; whoever takes its real server from it counts. False: somebody else did.
///
/// While a later generation is there, its place stays taken, so that who looks for that one does not stop here.
#[inline(always)]
pub fn end<T: Tables>(t: &mut T, key: &TemplateKey<T::A>, entry: T::TemplateRef) -> bool {
    let dest = t.load_template(entry).dest;
    if dest == NO_DEST || !t.swap_template_dest(entry, dest, NO_DEST) {
        return false;
    }
    if !has_later(t, key) {
        t.remove_template(key);
    }
    t.add(dest, DestCounter::Persistent, -1);
    true
}

/// Whether the next generation of a template is there.
#[inline(always)]
pub fn has_later<T: Tables>(t: &mut T, key: &TemplateKey<T::A>) -> bool {
    let later = TemplateKey {
        generation: key.generation.saturating_add(1),
        ..*key
    };
    later.generation < TemplateKey::GENERATIONS && t.template(&later).is_some()
}

/// The template of a connection, from what the connection keeps of it.
#[inline(always)]
const fn of<A: Address>(conn: &Conn<A>) -> Parent {
    Parent {
        flags: conn.status.flags,
        prefix: conn.status.template_prefix,
        mark: conn.mark,
        generation: conn.generation,
    }
}

/// Key of the template of a connection whose client's entry has this key.
#[must_use]
pub fn over<A: Address>(key: &FlowKey<A>, conn: &Conn<A>) -> TemplateKey<A> {
    key_of(key, of(conn))
}

/// A child was pushed out by force: a template that nobody else holds and that never proved itself goes with it.
#[inline(always)]
pub fn abandon<T: Tables>(t: &mut T, key: &FlowKey<T::A>, conn: &Conn<T::A>) {
    let key = key_of(key, of(conn));
    let Some(entry) = t.template(&key) else {
        return;
    };
    let template = t.load_template(entry);
    if template.dest == conn.dest && template.children == 0 && template.assured == 0 {
        end(t, &key, entry);
    }
}

#[inline(always)]
fn of_child<T: Tables>(
    t: &mut T,
    key: &FlowKey<T::A>,
    conn: &Conn<T::A>,
) -> Option<T::TemplateRef> {
    let entry = t.template(&key_of(key, of(conn)))?;
    (t.load_template(entry).dest == conn.dest).then_some(entry)
}

/// A child got established: the template proved itself.
#[inline(always)]
pub fn assure<T: Tables>(t: &mut T, key: &FlowKey<T::A>, conn: &Conn<T::A>) {
    if let Some(entry) = of_child(t, key, conn) {
        t.set_template_assured(entry);
    }
}

/// A child ended, or was never born.
#[inline(always)]
pub fn orphan<T: Tables>(t: &mut T, key: &FlowKey<T::A>, conn: &Conn<T::A>) {
    if let Some(entry) = of_child(t, key, conn)
        && t.load_template(entry).children > 0
    {
        t.add_template_children(entry, -1);
    }
}
