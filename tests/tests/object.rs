//! What the compiler made of the datapath's atomics, read from the object's instructions.
//!
//! For BPF, LLVM drops the fetch of a relaxed atomic addition whose result is used, and then takes the addend for that result
//! (llvm-project#210280): so a ticket must come from an addition that fetches, and of one that does not nothing may be read.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use ipvs_user::dataplane::bpf::OBJECT;
use object::{File, Object as _, ObjectSection as _, SectionKind};

/// The parts of an instruction that matter here.
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    dst: u8,
    src: u8,
    imm: u32,
}

const CLASS: u8 = 7;
const LOAD_MEMORY: u8 = 1;
const LOAD: [u8; 2] = [0, LOAD_MEMORY];
const STORE_IMMEDIATE: u8 = 2;
const STORE: u8 = 3;
const ARITHMETIC: [u8; 2] = [4, 7];
/// Calls and returns included.
const JUMPS: [u8; 2] = [5, 6];
/// The operation of an arithmetic instruction or a jump, and whether its operand is a register.
const OPERATION: u8 = 0xf0;
const MOVE: u8 = 0xb0;
const NEGATE: u8 = 0x80;
const BY_REGISTER: u8 = 8;
/// Stores that are atomic, of four and of eight bytes; what they do is in the immediate.
const ATOMIC: [u8; 2] = [0xc3, 0xdb];
const ADD: u32 = 0;
const FETCH: u32 = 1;

impl Instruction {
    fn is_addition(self) -> bool {
        ATOMIC.contains(&self.code) && self.imm & !FETCH == ADD
    }

    fn negates(self) -> bool {
        ARITHMETIC.contains(&(self.code & CLASS)) && self.code & OPERATION == NEGATE
    }

    /// Jumps, calls and returns, behind which nobody looks.
    fn ends_the_line(self) -> bool {
        JUMPS.contains(&(self.code & CLASS))
    }

    fn reads(self, register: u8) -> bool {
        let class = self.code & CLASS;
        let (dst, src) = (self.dst == register, self.src == register);
        let operation = self.code & OPERATION;
        if ARITHMETIC.contains(&class) {
            let by_register = self.code & BY_REGISTER != 0 && operation != NEGATE;
            return (dst && operation != MOVE) || (src && by_register);
        }
        match class {
            STORE => dst || src,
            STORE_IMMEDIATE => dst,
            LOAD_MEMORY => src,
            class if JUMPS.contains(&class) => dst || (src && self.code & BY_REGISTER != 0),
            _ => false,
        }
    }

    fn writes(self, register: u8) -> bool {
        let class = self.code & CLASS;
        self.dst == register && (ARITHMETIC.contains(&class) || LOAD.contains(&class))
    }
}

/// The code of each section; none if the object was built without a toolchain for BPF.
fn code() -> Vec<Vec<Instruction>> {
    if OBJECT.is_empty() {
        return Vec::new();
    }
    let file = File::parse(OBJECT).unwrap();
    let text = file.sections().filter(|s| s.kind() == SectionKind::Text);
    text.map(|section| {
        let (code, _) = section.data().unwrap().as_chunks::<8>();
        let instruction = |bytes: &[u8; 8]| Instruction {
            code: bytes[0],
            dst: bytes[1] & 15,
            src: bytes[1] >> 4,
            imm: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        code.iter().map(instruction).collect()
    })
    .collect()
}

#[test]
fn tickets_come_from_an_addition_that_fetches() {
    let code = code();
    let additions = code.iter().flatten().filter(|i| i.is_addition());
    let fetching = additions.clone().filter(|i| i.imm & FETCH != 0).count();
    let blind = additions.count() - fetching;
    println!("{fetching} fetch, {blind} do not");
    assert!(code.is_empty() || fetching != 0, "no ticket is drawn");
    assert!(code.is_empty() || blind != 0, "nothing is counted");
}

#[test]
fn nothing_is_read_of_an_addition_that_does_not_fetch() {
    for section in code() {
        for (at, addition) in section.iter().enumerate() {
            if !addition.is_addition() || addition.imm & FETCH != 0 {
                continue;
            }
            for later in &section[at + 1..] {
                // Counting another thing by the same number, or by its opposite, is no use of a result.
                let counts = later.is_addition() || later.negates();
                let read = later.reads(addition.src) && !counts;
                assert!(!read, "instruction {at}: {addition:?}, then {later:?}");
                if later.ends_the_line() || later.writes(addition.src) {
                    break;
                }
            }
        }
    }
}

/// The check itself, on what LLVM makes of `ticket = fetch_add(head, 1)` in relaxed order: the addend is the ticket.
#[test]
fn miscompiled_ticket_would_be_seen() {
    let add = Instruction {
        code: 0xc3,
        dst: 1,
        src: 2,
        imm: ADD,
    };
    let take = Instruction {
        code: 0xbf,
        dst: 6,
        src: 2,
        imm: 0,
    };
    assert!(add.is_addition() && take.reads(2) && !take.writes(2));
    assert!(!take.ends_the_line() && take.writes(6));
}
