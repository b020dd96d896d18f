//! An ICMP error about no connection, under `schedule_icmp`: the packet that it would have an answer to opens one.

use ipvs_common::{Conn, DropReason, Iface, PassReason, ServiceFlags};

use crate::{
    conn::{self, birth, template},
    exit::{Exit, NO_DEST, Verdict},
    expire,
    parse::{Packet, error},
    service,
    tables::Tables,
};

#[inline(always)]
pub fn asked<T: Tables<A = [u8; 4]>>(t: &mut T, iface: &Iface) -> Verdict {
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
fn begin<T: Tables<A = [u8; 4]>>(t: &mut T, iface: &Iface, p: &Packet) -> Result<Conn, Exit> {
    let service = *service::lookup(t, p, iface).ok_or(PassReason::NoService)?;
    if let Some(hit) = conn::find(t, &p.key) {
        if hit.conn.expires > t.now() {
            // Another CPU opened it.
            return Err(Exit::ICMP);
        }
        if !expire::overdue(t, &p.key, &hit) {
            // Another CPU is about to end it; until then nobody can enter anything here.
            return Err(PassReason::IcmpStranger.into());
        }
    }
    service::admit(t, p, iface, &service)?;
    if service.flags & ServiceFlags::ONE_PACKET != 0 && !p.is_tcp() {
        // No real server that one picked would know of the datagram.
        return Err(PassReason::CannotOpen.into());
    }
    let choice = template::choose(t, &service, &p.key);
    if choice.dest != NO_DEST {
        let conn = birth::draft(t, p, &service, choice)?;
        return Ok(birth::unseen(t, conn));
    }
    if service::is_ftp_data(p, &service) {
        return Err(PassReason::CannotOpen.into());
    }
    Err(DropReason::IcmpNoDest.into())
}
