//! The programs' stacks as the lowest kernels count them, read from the object: newer ones take programs that those refuse.
//!
//! Kernel 6.1 rounds the frame of each function up to 32 bytes, and what is on the stack at once may be 512. (From 6.7 on frames
//! are rounded to 16 where there is a JIT.) The function that the kernel's loop calls has its frame below the one that names it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeMap;

use ipvs_user::dataplane::bpf::OBJECT;
use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind,
    SymbolKind,
};

/// Bytes of stack that all functions of a chain have together.
const LIMIT: u32 = 512;
/// What each frame is rounded up to; one that is empty counts, too.
const STEP: u32 = 32;

const STACK: u8 = 10;
/// Registers that a call leaves undefined.
const CLOBBERED: u16 = 0x3f;
const INSTRUCTION: u64 = 8;
/// Operations that matter, by their code: 64-bit moves and additions, loads of 64-bit numbers, calls.
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
const LOAD_NUMBER: u8 = 0x18;
const CALL: u8 = 0x85;
/// Classes of memory accesses.
const LOAD: u8 = 1;
const STORES: [u8; 2] = [2, 3];
/// What a source register says of a call: it is of a function of the object.
const FUNCTION: u8 = 1;

/// Number of a section, and offset in it.
type Place = (usize, u64);

#[derive(Debug)]
struct Function {
    name: String,
    frame: u32,
    calls: Vec<Place>,
}

/// A chain of calls: its bytes, and the functions from the innermost one on.
#[derive(Clone, Default, Debug)]
struct Chain {
    bytes: u32,
    names: Vec<String>,
}

struct Code<'a> {
    bytes: &'a [u8],
    /// Symbols of this section's code that the linker is to fill in, by offset.
    targets: BTreeMap<u64, Place>,
    section: usize,
    /// Numbers of all sections with code: a number that the linker makes an address in one is a function that the kernel calls.
    all: &'a [usize],
}

/// The functions of the object, by where they stand; none if it was built without a toolchain for BPF.
fn functions() -> BTreeMap<Place, Function> {
    let mut found = BTreeMap::new();
    if OBJECT.is_empty() {
        return found;
    }
    let file = File::parse(OBJECT).unwrap();
    let is_code = |s: &object::Section<'_, '_>| s.kind() == SectionKind::Text;
    let all: Vec<_> = file
        .sections()
        .filter(is_code)
        .map(|s| s.index().0)
        .collect();
    for section in file.sections().filter(is_code) {
        let code = Code {
            all: &all,
            bytes: section.data().unwrap(),
            targets: targets(&file, &section),
            section: section.index().0,
        };
        let within = |s: &object::Symbol<'_, '_>| {
            s.kind() == SymbolKind::Text && s.section_index() == Some(section.index())
        };
        for symbol in file.symbols().filter(within) {
            let name = symbol.name().unwrap().to_owned();
            let function = code.function(name, symbol.address(), symbol.size());
            found.insert((section.index().0, symbol.address()), function);
        }
    }
    found
}

fn targets(file: &File<'_>, section: &object::Section<'_, '_>) -> BTreeMap<u64, Place> {
    let target = |(offset, relocation): (u64, object::Relocation)| {
        let RelocationTarget::Symbol(index) = relocation.target() else {
            return None;
        };
        let symbol = file.symbol_by_index(index).ok()?;
        Some((offset, (symbol.section_index()?.0, symbol.address())))
    };
    section.relocations().filter_map(target).collect()
}

impl Code<'_> {
    fn function(&self, name: String, start: u64, size: u64) -> Function {
        let (mut frame, mut calls) = (0, Vec::new());
        // Registers that hold the frame's end, until something is added.
        let mut ends = 1_u16 << STACK;
        for at in (start..start + size).step_by(INSTRUCTION as usize) {
            let [code, registers, low, high, imm @ ..] = self.at(at);
            let (dst, src) = (registers & 15, registers >> 4);
            let offset = i16::from_le_bytes([low, high]);
            let imm = i32::from_le_bytes(imm);
            let is_access =
                code & 7 == LOAD && src == STACK || STORES.contains(&(code & 7)) && dst == STACK;
            if is_access {
                frame = frame.max(u32::from(offset.unsigned_abs()));
            }
            match code {
                MOVE if src == STACK => ends |= 1 << dst,
                ADD if ends & 1 << dst != 0 => {
                    frame = frame.max(imm.unsigned_abs());
                    ends &= !(1 << dst);
                }
                CALL => ends &= !CLOBBERED,
                _ if dst != STACK && writes(code) => ends &= !(1 << dst),
                _ => {}
            }
            if self.names_function(at, code, src) {
                calls.push(self.target(at, code, imm));
            }
        }
        Function { name, frame, calls }
    }

    fn at(&self, offset: u64) -> [u8; 8] {
        let (all, _) = self.bytes.as_chunks::<8>();
        all[(offset / INSTRUCTION) as usize]
    }

    fn names_function(&self, at: u64, code: u8, src: u8) -> bool {
        let in_code = |(section, _): &Place| self.all.contains(section);
        code == CALL && src == FUNCTION
            || code == LOAD_NUMBER && self.targets.get(&at).is_some_and(in_code)
    }

    /// The function that an instruction names. Where the linker's symbol is that of the section, the number in the instruction
    /// says where in it; without one, it is relative.
    fn target(&self, at: u64, code: u8, imm: i32) -> Place {
        let imm = i64::from(imm);
        let within = if code == CALL {
            (imm + 1) * INSTRUCTION.cast_signed()
        } else {
            imm
        };
        match self.targets.get(&at) {
            Some((section, address)) => (*section, address.wrapping_add_signed(within)),
            None => (self.section, (at).wrapping_add_signed(within)),
        }
    }
}

/// Whether an instruction's destination is another value after it.
const fn writes(code: u8) -> bool {
    matches!(code & 7, 0 | 1 | 4 | 7)
}

/// The deepest chain of calls from a function on.
fn deepest(functions: &BTreeMap<Place, Function>, from: Place) -> Chain {
    let function = &functions[&from];
    let inner = function.calls.iter().map(|to| deepest(functions, *to));
    let inner = inner.max_by_key(|chain| chain.bytes).unwrap_or_default();
    longer(function, inner)
}

fn longer(function: &Function, mut chain: Chain) -> Chain {
    let counted = function.frame.max(1).next_multiple_of(STEP);
    chain.bytes += counted;
    let Function { name, frame, .. } = function;
    chain
        .names
        .push(format!("{name} ({frame}, counts {counted})"));
    chain
}

/// All chains of more bytes than there may be.
fn too_deep(functions: &BTreeMap<Place, Function>, limit: u32) -> Vec<String> {
    let chains = functions.keys().map(|place| deepest(functions, *place));
    let over = chains.filter(|c| c.bytes > limit);
    over.map(|c| format!("{} bytes: {}", c.bytes, c.names.join(" < ")))
        .collect()
}

#[test]
fn no_chain_of_calls_is_deeper_than_the_lowest_kernels_take() {
    let functions = functions();
    let deep = too_deep(&functions, LIMIT);
    assert!(deep.is_empty(), "{}", deep.join("\n"));
}

/// The reading itself: the chains are there, and have names.
#[test]
fn smaller_limit_is_exceeded_by_chains_with_names() {
    let functions = functions();
    let deep = too_deep(&functions, 256);
    let of = |name: &str| deep.iter().any(|chain| chain.contains(name));
    assert!(
        functions.is_empty() || (of("ipvs_open") && of("walk_") && of("end_conn6")),
        "{}",
        deep.join("\n")
    );
}
