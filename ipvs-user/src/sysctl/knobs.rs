//! The knobs that apply, and the values they are at.

use ipvs_common::{Settings, SettingsFlags};

use super::{
    SysctlError, SysctlView,
    defence::Defence,
    find,
    table::{Applies, Sysctl, TABLE},
};

/// A knob that applies here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Knob {
    AmDroprate,
    Amemthresh,
    BackupOnly,
    CacheBypass,
    ConnReuseMode,
    DropEntry,
    DropPacket,
    ExpireNodestConn,
    ExpireQuiescentTemplate,
    LblcExpiration,
    LblcrExpiration,
    NatIcmpSend,
    PmtuDisc,
    ScheduleIcmp,
    SecureTcp,
    SloppySctp,
    SloppyTcp,
    SyncPersistMode,
    SyncPorts,
    SyncRefreshPeriod,
    SyncRetries,
    SyncSockSize,
    SyncVersion,
}

impl Knob {
    const COUNT: usize = Self::SyncVersion as usize + 1;
}

/// What the knobs are at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Knobs([u32; Knob::COUNT]);

impl Default for Knobs {
    fn default() -> Self {
        let mut knobs = Self([0; Knob::COUNT]);
        for sysctl in TABLE {
            // A test sees to it that every default is a number in its range.
            if let (Applies::Here(knob), Ok(value)) = (sysctl.applies, sysctl.default.parse()) {
                knobs.put(knob, value);
            }
        }
        knobs
    }
}

impl Knobs {
    #[must_use]
    pub const fn get(&self, knob: Knob) -> u32 {
        self.0[knob as usize]
    }

    pub(super) const fn put(&mut self, knob: Knob, value: u32) {
        self.0[knob as usize] = value;
    }

    /// Sets a knob by its name, or says why not.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let sysctl = find(name)?;
        let Some(read) = sysctl.range.read(value) else {
            return Err(SysctlError::Range {
                name: sysctl.name,
                value: value.trim().to_owned(),
                range: sysctl.range,
            });
        };
        match sysctl.applies {
            Applies::Here(knob) => self.put(knob, read.parse().unwrap_or_default()),
            Applies::DefaultOnly(_) if read == sysctl.default => {}
            Applies::DefaultOnly(why) => {
                return Err(SysctlError::DoesNotApply {
                    name: sysctl.name,
                    value: read,
                    default: sysctl.default,
                    why,
                });
            }
        }
        Ok(())
    }

    /// Every knob there is, in the order of the table.
    #[must_use]
    pub fn views(&self) -> Vec<SysctlView> {
        let view = |sysctl: &Sysctl| {
            let (value, why_not) = match sysctl.applies {
                Applies::Here(knob) => (self.get(knob).to_string(), None),
                Applies::DefaultOnly(why) => (sysctl.default.to_owned(), Some(why)),
            };
            SysctlView {
                name: sysctl.name,
                value,
                default: sysctl.default,
                range: sysctl.range,
                doc: sysctl.doc,
                why_not,
            }
        };
        TABLE.iter().map(view).collect()
    }

    /// Those that apply, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        TABLE.iter().filter_map(|sysctl| match sysctl.applies {
            Applies::Here(knob) => Some((sysctl.name, self.get(knob))),
            Applies::DefaultOnly(_) => None,
        })
    }

    /// Puts into the settings what the datapath goes by.
    pub fn write(&self, defence: &Defence, settings: &mut Settings) {
        let on = |knob| self.get(knob) != 0;
        let flags = [
            (SettingsFlags::BACKUP_ONLY, on(Knob::BackupOnly)),
            (SettingsFlags::CACHE_BYPASS, on(Knob::CacheBypass)),
            (SettingsFlags::EXPIRE_NODEST, on(Knob::ExpireNodestConn)),
            (
                SettingsFlags::EXPIRE_QUIESCENT,
                on(Knob::ExpireQuiescentTemplate),
            ),
            (SettingsFlags::NAT_ICMP_SEND, on(Knob::NatIcmpSend)),
            (SettingsFlags::PMTU_DISC, on(Knob::PmtuDisc)),
            (SettingsFlags::SCHEDULE_ICMP, on(Knob::ScheduleIcmp)),
            (SettingsFlags::SLOPPY_SCTP, on(Knob::SloppySctp)),
            (SettingsFlags::SLOPPY_TCP, on(Knob::SloppyTcp)),
            (SettingsFlags::SECURE_TCP, defence.secure_tcp()),
        ];
        for (flag, on) in flags {
            settings.flags &= !flag;
            settings.flags |= if on { flag } else { 0 };
        }
        settings.conn_reuse_mode = self.get(Knob::ConnReuseMode);
        settings.drop_rate = defence.drop_rate();
        settings.lblcr_expiration = self.get(Knob::LblcrExpiration).saturating_mul(settings.hz);
    }
}
