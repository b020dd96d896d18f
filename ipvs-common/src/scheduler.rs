//! The schedulers: numbers for the maps, names for people. Adding one starts here.

macro_rules! schedulers {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// How a service chooses the real server of a new connection.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Scheduler { $($(#[$doc])* $variant = $number),* }

        impl Scheduler {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// In the order of [`Self::ALL`].
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            #[must_use]
            #[inline(always)]
            pub const fn from_number(n: u8) -> Option<Self> {
                match n {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

schedulers! {
    /// Round robin, blind to weights other than 0.
    Rr = 0, "rr";
    /// Weighted least connection.
    Wlc = 1, "wlc";
    /// Locality-based least connection.
    Lblc = 2, "lblc";
    /// Weighted round robin.
    Wrr = 3, "wrr";
    /// Least connection.
    Lc = 4, "lc";
    /// Locality-based least connection with replication.
    Lblcr = 5, "lblcr";
    /// Destination hashing.
    Dh = 6, "dh";
    /// Source hashing.
    Sh = 7, "sh";
    /// Shortest expected delay.
    Sed = 8, "sed";
    /// Never queue.
    Nq = 9, "nq";
    /// Weighted failover: the heaviest.
    Fo = 10, "fo";
    /// Weighted overflow: the heaviest until it is full.
    Ovf = 11, "ovf";
    /// Maglev hashing.
    Mh = 12, "mh";
    /// Two random choices by weight, the less loaded of them.
    Twos = 13, "twos";
    /// No scheduler: no new connection finds a real server.
    None = 14, "none";
}

impl Scheduler {
    /// What `ipvsadm -A` uses without `-s`.
    pub const DEFAULT: Self = Self::Wlc;

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|s| s.name() == name)
    }
}
