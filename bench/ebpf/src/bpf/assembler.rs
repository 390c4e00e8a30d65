//! A small assembler for eBPF (RFC 9669): one method per kind of instruction, jumps to labels.

/// One of the eleven registers. R0 holds results, R1 to R5 arguments, R6 to R9 survive calls, R10 is the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How many bytes a load or store moves.
#[derive(Clone, Copy)]
pub enum Width {
    U8 = 0x10,
    U16 = 0x08,
    U32 = 0x00,
    U64 = 0x18,
}

#[derive(Clone, Copy)]
pub enum Operation {
    Add = 0x00,
    Subtract = 0x10,
    Multiply = 0x20,
    Divide = 0x30,
    And = 0x50,
    ShiftRight = 0x70,
    Remainder = 0x90,
    Xor = 0xa0,
    Move = 0xb0,
}

/// When a jump is taken; comparisons are unsigned, over 64 bits.
#[derive(Clone, Copy)]
pub enum Condition {
    Equal = 0x10,
    Greater = 0x20,
    AnyBitSet = 0x40,
    NotEqual = 0x50,
    Less = 0xa0,
    LessOrEqual = 0xb0,
}

/// What an operation or a comparison takes on its right.
#[derive(Clone, Copy)]
pub enum Operand {
    Register(Register),
    Value(i32),
}

impl From<Register> for Operand {
    fn from(register: Register) -> Operand {
        Operand::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(value: i32) -> Operand {
        Operand::Value(value)
    }
}

/// `struct bpf_insn` of `linux/bpf.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones.
    registers: u8,
    offset: i16,
    value: i32,
}

mod class {
    pub const LOAD_VALUE_64: u8 = 0x18;
    pub const LOAD: u8 = 0x61;
    pub const STORE: u8 = 0x63;
    pub const BYTE_SWAP_FROM_BE: u8 = 0xdc;
    pub const ALU_64: u8 = 0x07;
    pub const JUMP: u8 = 0x05;
    pub const CALL: u8 = 0x85;
    pub const EXIT: u8 = 0x95;
    /// Added where the right side is a register.
    pub const FROM_REGISTER: u8 = 0x08;
}

/// As the source of `LOAD_VALUE_64`: the value is the descriptor of a map.
const MAP_DESCRIPTOR: u8 = 1;

#[derive(Default)]
pub struct Assembler {
    instructions: Vec<Instruction>,
    labels: Vec<(&'static str, usize)>,
    jumps: Vec<(usize, &'static str)>,
}

impl Assembler {
    pub fn new() -> Assembler {
        Assembler::default()
    }

    pub fn apply(&mut self, operation: Operation, to: Register, by: impl Into<Operand>) {
        self.push_with_operand(class::ALU_64 | operation as u8, to, by.into());
    }

    pub fn copy(&mut self, to: Register, from: impl Into<Operand>) {
        self.apply(Operation::Move, to, from);
    }

    /// Takes the low 16 bits as a number in network order.
    pub fn network_16_to_host(&mut self, register: Register) {
        self.push(class::BYTE_SWAP_FROM_BE, register, 0, 0, 16);
    }

    pub fn load(&mut self, width: Width, to: Register, base: Register, offset: usize) {
        self.push(class::LOAD | width as u8, to, base as u8, offset as i16, 0);
    }

    pub fn store(&mut self, width: Width, base: Register, offset: usize, from: Register) {
        self.push(class::STORE | width as u8, base, from as u8, offset as i16, 0);
    }

    /// Stores so many bytes below the frame pointer.
    pub fn store_local(&mut self, width: Width, below: i16, from: Register) {
        self.push(class::STORE | width as u8, Register::R10, from as u8, -below, 0);
    }

    pub fn load_local(&mut self, width: Width, to: Register, below: i16) {
        self.push(class::LOAD | width as u8, to, Register::R10 as u8, -below, 0);
    }

    /// The address of what lies so many bytes below the frame pointer.
    pub fn address_of_local(&mut self, to: Register, below: i16) {
        self.copy(to, Register::R10);
        self.apply(Operation::Add, to, -i32::from(below));
    }

    pub fn load_map(&mut self, to: Register, descriptor: i32) {
        self.push(class::LOAD_VALUE_64, to, MAP_DESCRIPTOR, 0, descriptor);
        self.push(0, Register::R0, 0, 0, 0);
    }

    /// Calls a helper by its number; R1 to R5 are lost.
    pub fn call(&mut self, helper: i32) {
        self.push(class::CALL, Register::R0, 0, 0, helper);
    }

    pub fn jump_if(
        &mut self,
        left: Register,
        condition: Condition,
        right: impl Into<Operand>,
        label: &'static str,
    ) {
        self.jumps.push((self.instructions.len(), label));
        self.push_with_operand(class::JUMP | condition as u8, left, right.into());
    }

    pub fn label(&mut self, name: &'static str) {
        assert!(self.labels.iter().all(|(known, _)| *known != name), "label {name} twice");
        self.labels.push((name, self.instructions.len()));
    }

    pub fn exit(&mut self) {
        self.push(class::EXIT, Register::R0, 0, 0, 0);
    }

    /// The program with its jumps resolved. Panics on a jump to a label that is nowhere.
    pub fn assemble(mut self) -> Vec<Instruction> {
        for (from, name) in self.jumps {
            let target = self.labels.iter().find(|(label, _)| *label == name);
            let (_, to) = target.unwrap_or_else(|| panic!("no label {name}"));
            self.instructions[from].offset = (*to as i64 - from as i64 - 1) as i16;
        }
        self.instructions
    }

    fn push_with_operand(&mut self, code: u8, left: Register, right: Operand) {
        match right {
            Operand::Register(right) => self.push(code | class::FROM_REGISTER, left, right as u8, 0, 0),
            Operand::Value(value) => self.push(code, left, 0, 0, value),
        }
    }

    fn push(&mut self, code: u8, destination: Register, source: u8, offset: i16, value: i32) {
        let registers = destination as u8 | source << 4;
        self.instructions.push(Instruction { code, registers, offset, value });
    }
}

#[cfg(test)]
mod tests {
    use super::Condition::*;
    use super::Operation::*;
    use super::Register::*;
    use super::Width::*;
    use super::*;

    fn encoded(write: impl FnOnce(&mut Assembler)) -> Vec<(u8, u8, i16, i32)> {
        let mut assembler = Assembler::new();
        write(&mut assembler);
        assembler.assemble().iter().map(|i| (i.code, i.registers, i.offset, i.value)).collect()
    }

    /// Encodings as `llvm-objdump` prints them for the same instructions.
    #[test]
    fn encodes_as_the_kernel_reads() {
        let program = encoded(|a| {
            a.copy(R6, R1);
            a.copy(R0, -1);
            a.apply(Add, R4, 42);
            a.apply(Subtract, R8, R3);
            a.load(U32, R2, R6, 76);
            a.load(U16, R4, R2, 12);
            a.load(U8, R4, R2, 14);
            a.store(U64, R2, 26, R4);
            a.store_local(U32, 8, R4);
            a.load_local(U16, R4, 24);
            a.network_16_to_host(R8);
            a.load_map(R1, 7);
            a.call(1);
            a.exit();
        });
        let expected = [
            (0xbf, 0x16, 0, 0),
            (0xb7, 0x00, 0, -1),
            (0x07, 0x04, 0, 42),
            (0x1f, 0x38, 0, 0),
            (0x61, 0x62, 76, 0),
            (0x69, 0x24, 12, 0),
            (0x71, 0x24, 14, 0),
            (0x7b, 0x42, 26, 0),
            (0x63, 0x4a, -8, 0),
            (0x69, 0xa4, -24, 0),
            (0xdc, 0x08, 0, 16),
            (0x18, 0x11, 0, 7),
            (0x00, 0x00, 0, 0),
            (0x85, 0x00, 0, 1),
            (0x95, 0x00, 0, 0),
        ];
        assert_eq!(program, expected);
    }

    #[test]
    fn jumps_count_from_the_next_instruction() {
        let program = encoded(|a| {
            a.label("start");
            a.jump_if(R4, Greater, R3, "end");
            a.jump_if(R4, NotEqual, 8, "start");
            a.label("end");
            a.exit();
        });
        assert_eq!(program, [(0x2d, 0x34, 1, 0), (0x55, 0x04, -2, 8), (0x95, 0, 0, 0)]);
    }

    #[test]
    #[should_panic(expected = "no label away")]
    fn a_jump_needs_its_label() {
        encoded(|a| a.jump_if(R1, Equal, 0, "away"));
    }
}
