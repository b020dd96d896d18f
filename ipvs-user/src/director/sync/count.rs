//! Events around backup directors: each with a name, a sentence, and how often it came.

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $help:literal;)*) => {
        /// What happened on the way to a backup, or from a master.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum SyncCount { $($variant),* }

        impl SyncCount {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// What they have in common.
            pub const KIND: &'static str = "sync";

            /// Short name, fit for a metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// One sentence for a person.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),* }
            }
        }
    };
}

counts! {
    Told = "told", "entries sent to the backup because they changed";
    ToldAgain = "told_again", "entries sent to the backup because it was their turn";
    RefreshMissed = "refresh_missed", "entries whose turn is put off to the next period, as too many wait to be sent";
    Sent = "sent", "datagrams sent to the backup";
    SendFailed = "send_failed", "datagrams that the socket did not take: the backup hears of their entries at their next turn";
    Received = "received", "datagrams that came from a master";
    OtherSyncid = "other_syncid", "datagrams of a master with another syncid";
    Malformed = "malformed", "datagrams that are none of the sync daemon";
    Skipped = "skipped", "entries of datagrams that are cut off, or say what must be understood and is not";
    Entered = "entered", "entries of a master that are in the tables, or up to date, because of it";
    Refused = "refused", "entries of a master that the tables did not take: no room, or they contradict a newer one";
    Unfit = "unfit", "entries of a master that there is no place for here (another protocol or family, moved sequence numbers)";
    Unbound = "unbound", "entries of a master whose service or real server is not there: kept for when it is";
    UnboundLost = "unbound_lost", "entries of that kind that gave way to newer ones";
}

#[derive(Debug, Default)]
pub(super) struct Counts([u64; SyncCount::ALL.len()]);

impl Counts {
    pub(super) const fn add(&mut self, count: SyncCount, n: u64) {
        self.0[count as usize] += n;
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (SyncCount, u64)> + '_ {
        SyncCount::ALL.iter().map(|c| (*c, self.0[*c as usize]))
    }
}
