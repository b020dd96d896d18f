//! Questions by generic netlink, whichever family is asked.

use futures_util::StreamExt as _;
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, ParseableParametrized,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_proto::{
    ConnectionHandle, new_connection,
    sys::{SocketAddr, protocols::NETLINK_GENERIC},
};

use super::{NetError, Result};

impl NetError {
    /// Whether the kernel answered with this error.
    pub(crate) fn is(&self, code: i32) -> bool {
        let io = self.source.downcast_ref::<std::io::Error>();
        io.and_then(std::io::Error::raw_os_error) == Some(code)
    }
}

/// What the kernel says of a family, for which it may load a module; nothing, if it has none of that name.
pub(super) async fn family(name: &str) -> Result<Vec<GenlCtrl>> {
    let failed = NetError::on("generic netlink");
    let (connection, handle, _) = new_connection(NETLINK_GENERIC).map_err(failed)?;
    let carried = tokio::spawn(connection);
    let query = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())],
    });
    let answers = ask(&handle, query).await;
    carried.abort();
    match answers {
        Err(e) if e.is(libc::ENOENT) => Ok(Vec::new()),
        answers => answers,
    }
}

/// A family's number, which each kernel gives out anew.
pub(super) fn number(answer: &GenlCtrl) -> Option<u16> {
    answer.nlas.iter().find_map(|a| {
        if let GenlCtrlAttrs::FamilyId(id) = a {
            return Some(*id);
        }
        None
    })
}

pub(super) async fn ask<F>(
    handle: &ConnectionHandle<GenlMessage<F>>,
    request: GenlMessage<F>,
) -> Result<Vec<F>>
where
    F: GenlFamily
        + Emitable
        + ParseableParametrized<[u8], GenlHeader>
        + Clone
        + std::fmt::Debug
        + Send
        + Unpin
        + 'static,
{
    let what = || format!("generic netlink family {}", F::family_name());
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let to = SocketAddr::new(0, 0);
    let sent = handle.request(message, to);
    let mut answers = sent.map_err(|e| NetError::on(what())(e.to_string()))?;
    let mut found = Vec::new();
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::InnerMessage(m) = answer.payload {
            found.push(m.payload);
        } else if let NetlinkPayload::Error(e) = answer.payload
            && e.code.is_some()
        {
            return Err(NetError::on(what())(e.to_io()));
        }
    }
    Ok(found)
}
