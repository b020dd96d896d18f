//! An ICMP error about no connection, under `schedule_icmp`: the packet that it would have an answer to opens one.

use ipvs_common::{Conn, DropReason, Iface, PassReason, Service, ServiceFlags};

use crate::{
    conn::{
        self, birth,
        template::{self, Choice},
    },
    exit::{Exit, NO_DEST, Verdict},
    expire,
    frame::Frame,
    parse::{Packet, error},
    service::{self, Marked},
    tables::Tables,
};

#[inline(always)]
pub fn asked<F: Frame, T: Tables>(_: &mut F, t: &mut T, iface: &Iface) -> Verdict {
    let p = match error::asked(t) {
        Ok(p) => p,
        Err(exit) => return super::refuse(t, exit),
    };
    match begin(t, iface, &p) {
        Ok(conn) => {
            t.put_newborn(&conn);
            Verdict::ENTER
        }
        Err(exit) => super::refuse(t, exit),
    }
}

#[inline(always)]
fn begin<T: Tables>(t: &mut T, iface: &Iface, p: &Packet<T::A>) -> Result<Conn<T::A>, Exit> {
    let marked = service::mark(t, &p.key, iface);
    let service = *service::lookup(t, p, marked.mark).ok_or(PassReason::NoService)?;
    admit(t, iface, p, marked, &service)?;
    let choice = template::choose(t, &service, &p.key);
    of_choice(t, p, &service, choice)
}

/// Whether the packet may open a connection.
#[inline(always)]
pub(super) fn admit<T: Tables>(
    t: &mut T,
    iface: &Iface,
    p: &Packet<T::A>,
    marked: Marked,
    service: &Service,
) -> Result<(), Exit> {
    if let Some(hit) = conn::find(t, &p.key) {
        if hit.conn.expires > t.now() {
            // Another CPU opened it.
            return Err(Exit::ICMP);
        }
        if !expire::overdue(t, &p.key, &hit) {
            // Another CPU is about to end it, and until then nobody can enter anything here; or has just used it, and one error
            // less matters to nobody.
            return Err(PassReason::IcmpStranger.into());
        }
    }
    service::admit(t, p, iface, marked, service)?;
    if service.flags & ServiceFlags::ONE_PACKET != 0 && p.is_udp() {
        // No real server that one picked would know of the datagram.
        return Err(PassReason::CannotOpen.into());
    }
    Ok(())
}

/// The connection to the real server that was chosen.
#[inline(always)]
pub(super) fn of_choice<T: Tables>(
    t: &mut T,
    p: &Packet<T::A>,
    service: &Service,
    choice: Choice,
) -> Result<Conn<T::A>, Exit> {
    if choice.dest != NO_DEST {
        let conn = birth::draft(t, p, service, choice)?;
        return Ok(birth::unseen(t, conn));
    }
    if service::is_ftp_data(p, service) {
        return Err(PassReason::CannotOpen.into());
    }
    Err(DropReason::IcmpNoDest.into())
}
