//! UDP ports on which the kernel takes packets out of GUE, from the generic netlink family `fou`.

use netlink_packet_core::{DecodeError, DefaultNla, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_proto::{ConnectionHandle, new_connection, sys::protocols::NETLINK_GENERIC};

use rtnetlink::packet_route::AddressFamily;

use super::{NetError, Result, generic};

const FAMILY: &str = "fou";
const VERSION: u8 = 1;
const ATTR_PORT: u16 = 1;
const ATTR_AF: u16 = 2;
const ATTR_TYPE: u16 = 4;
/// `FOU_ENCAP_GUE`
const GUE: u8 = 2;

#[derive(Clone, Copy, Debug)]
enum Command {
    Add = 1,
    Del = 2,
    Get = 3,
}

#[derive(Clone, Debug, Default)]
struct Port {
    command: u8,
    number: u16,
    family: u8,
    /// Of an answer, or of one that is to be made.
    kind: Option<u8>,
}

impl GenlFamily for Port {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Port {
    fn attributes(&self) -> Vec<DefaultNla> {
        let mut all = vec![
            DefaultNla::new(ATTR_PORT, self.number.to_be_bytes().to_vec()),
            DefaultNla::new(ATTR_AF, vec![self.family]),
        ];
        all.extend(self.kind.map(|kind| DefaultNla::new(ATTR_TYPE, vec![kind])));
        all
    }
}

impl Emitable for Port {
    fn buffer_len(&self) -> usize {
        self.attributes().as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes().as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Port {
    fn parse_with_param(
        attributes: &[u8],
        header: GenlHeader,
    ) -> std::result::Result<Self, DecodeError> {
        let mut port = Self {
            command: header.cmd,
            ..Self::default()
        };
        for attribute in netlink_packet_core::NlasIterator::new(attributes) {
            let attribute = attribute?;
            if attribute.kind() == ATTR_TYPE {
                port.kind = attribute.value().first().copied();
            }
        }
        Ok(port)
    }
}

/// The family, where the kernel has it or has a module for it.
pub struct Gue {
    handle: ConnectionHandle<GenlMessage<Port>>,
    family: u16,
}

impl Gue {
    /// `None` on a kernel without the family. Has the kernel load its module.
    pub async fn connect() -> Result<Option<Self>> {
        let answers = generic::family(FAMILY).await?;
        let Some(family) = answers.iter().find_map(generic::number) else {
            return Ok(None);
        };
        let failed = NetError::on("generic netlink");
        let (connection, handle, _) = new_connection(NETLINK_GENERIC).map_err(failed)?;
        tokio::spawn(connection);
        Ok(Some(Self { handle, family }))
    }

    /// Whether packets to this port are taken out of GUE.
    pub async fn has(&self, v6: bool, port: u16) -> Result<bool> {
        match self.ask(Command::Get, v6, port).await {
            Ok(found) => Ok(found.iter().any(|p| p.kind == Some(GUE))),
            Err(e) if e.is(libc::ESRCH) => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub async fn add(&self, v6: bool, port: u16) -> Result<()> {
        self.ask(Command::Add, v6, port).await.map(drop)
    }

    /// No error if it is not there.
    pub async fn remove(&self, v6: bool, port: u16) -> Result<()> {
        match self.ask(Command::Del, v6, port).await {
            Err(e) if !e.is(libc::EINVAL) && !e.is(libc::ESRCH) => Err(e),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn ask(&self, command: Command, v6: bool, port: u16) -> Result<Vec<Port>> {
        let family = u8::from(if v6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        });
        let payload = Port {
            command: command as u8,
            number: port,
            family,
            kind: matches!(command, Command::Add).then_some(GUE),
        };
        let header = GenlHeader {
            cmd: command as u8,
            version: VERSION,
        };
        generic::ask(&self.handle, GenlMessage::new(header, payload, self.family)).await
    }
}
