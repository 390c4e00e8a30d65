//! bpf(2): maps, programs, and links that attach a program to the ingress of an interface (TCX).

use super::assembler::Instruction;
use crate::Result;
use std::io::Error;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Commands of bpf(2).
mod command {
    pub const MAP_CREATE: i32 = 0;
    pub const MAP_LOOKUP_ELEM: i32 = 1;
    pub const MAP_UPDATE_ELEM: i32 = 2;
    pub const MAP_DELETE_ELEM: i32 = 3;
    pub const PROG_LOAD: i32 = 5;
    pub const PROG_TEST_RUN: i32 = 10;
    pub const LINK_CREATE: i32 = 28;
}

const MAP_TYPE_HASH: u32 = 1;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_PERCPU_ARRAY: u32 = 6;
const ATTACH_XDP: u32 = 37;
const ATTACH_TCX_INGRESS: u32 = 46;
/// Of an XDP link: by the stack, where the driver could do it, too.
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// The frames of a test run are real: they go where the program sends them.
const LIVE_FRAMES: u32 = 1 << 1;
/// No helper that the programs call asks for a GPL-compatible licence.
const LICENSE: &[u8] = b"MIT\0";
const VERIFIER_LOG_BYTES: usize = 1 << 20;

/// A plain value that may cross into the kernel as its bytes.
///
/// # Safety
/// The type is `repr(C)`, `Copy`, has no padding, and any bytes are a value of it.
pub unsafe trait Plain: Copy {}

// SAFETY: an integer.
unsafe impl Plain for u32 {}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct MapElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    prog_flags: u32,
    name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    padding: u32,
    expected_revision: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgTestRun {
    prog_fd: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// What a program is for.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// Runs on packets at an interface (`BPF_PROG_TYPE_SCHED_CLS`).
    TrafficControl = 3,
    /// Runs on frames before they are packets.
    Xdp = 6,
}

impl Purpose {
    /// Where such a program is attached: type and flags.
    fn hook(self) -> (u32, u32) {
        match self {
            Purpose::TrafficControl => (ATTACH_TCX_INGRESS, 0),
            Purpose::Xdp => (ATTACH_XDP, XDP_FLAGS_SKB_MODE),
        }
    }
}

/// A hash map that the kernel and we share.
pub struct HashMap<Key: Plain, Value: Plain> {
    descriptor: OwnedFd,
    types: PhantomData<(Key, Value)>,
}

impl<Key: Plain, Value: Plain> HashMap<Key, Value> {
    pub fn new(max_entries: u32) -> Result<HashMap<Key, Value>> {
        let sizes = (size_of::<Key>(), size_of::<Value>());
        Ok(HashMap { descriptor: create_map(MAP_TYPE_HASH, sizes, max_entries)?, types: PhantomData })
    }

    /// Adds or replaces; a program that runs meanwhile sees the old value or the new one, never a mixture.
    pub fn insert(&self, key: &Key, value: &Value) -> Result<()> {
        let value = (&raw const *value).cast_mut().cast();
        element(&self.descriptor, command::MAP_UPDATE_ELEM, (&raw const *key).cast(), value)
    }

    pub fn remove(&self, key: &Key) -> Result<()> {
        let key = (&raw const *key).cast();
        element(&self.descriptor, command::MAP_DELETE_ELEM, key, std::ptr::null_mut())
    }

    pub fn descriptor(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }
}

/// An array that programs read.
pub struct Array<Value: Plain> {
    descriptor: OwnedFd,
    types: PhantomData<Value>,
}

impl<Value: Plain> Array<Value> {
    pub fn new(values: &[Value]) -> Result<Array<Value>> {
        let sizes = (size_of::<u32>(), size_of::<Value>());
        let descriptor = create_map(MAP_TYPE_ARRAY, sizes, values.len() as u32)?;
        for (index, value) in (0u32..).zip(values) {
            let value = (&raw const *value).cast_mut().cast();
            element(&descriptor, command::MAP_UPDATE_ELEM, (&raw const index).cast(), value)?;
        }
        Ok(Array { descriptor, types: PhantomData })
    }

    pub fn descriptor(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }
}

/// An array with a copy of each value for each processor, so that programs count without locks.
pub struct PerCpuArray<Value: Plain> {
    descriptor: OwnedFd,
    cpus: usize,
    types: PhantomData<Value>,
}

impl<Value: Plain> PerCpuArray<Value> {
    pub fn new(max_entries: u32) -> Result<PerCpuArray<Value>> {
        // The kernel rounds each processor's value up to eight bytes.
        assert!(size_of::<Value>().is_multiple_of(8));
        let sizes = (size_of::<u32>(), size_of::<Value>());
        let descriptor = create_map(MAP_TYPE_PERCPU_ARRAY, sizes, max_entries)?;
        Ok(PerCpuArray { descriptor, cpus: possible_cpus()?, types: PhantomData })
    }

    /// The value of each processor.
    pub fn get(&self, index: u32) -> Result<Vec<Value>> {
        let mut values = Vec::with_capacity(self.cpus);
        let room = values.as_mut_ptr();
        element(
            &self.descriptor,
            command::MAP_LOOKUP_ELEM,
            (&raw const index).cast(),
            <*mut Value>::cast(room),
        )?;
        // SAFETY: the kernel wrote one value for each possible processor, and any bytes are a value.
        unsafe { values.set_len(self.cpus) };
        Ok(values)
    }

    pub fn descriptor(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }
}

/// A loaded program.
pub struct Program {
    descriptor: OwnedFd,
    purpose: Purpose,
}

impl Program {
    /// Loads, or fails with the verifier's account of why not.
    pub fn load(purpose: Purpose, name: &str, instructions: &[Instruction]) -> Result<Program> {
        let mut log = vec![0u8; VERIFIER_LOG_BYTES];
        let mut attributes = ProgLoad {
            prog_type: purpose as u32,
            instruction_count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            expected_attach_type: purpose.hook().0,
            ..ProgLoad::default()
        };
        attributes.name[..name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: the attributes are those of this command and point to buffers that outlive the call.
        if let Ok(descriptor) = unsafe { descriptor_from(command::PROG_LOAD, &mut attributes) } {
            return Ok(Program { descriptor, purpose });
        }
        attributes.log_level = 1;
        attributes.log_size = log.len() as u32;
        attributes.log_buffer = log.as_mut_ptr() as u64;
        // SAFETY: as above; the log's length is its buffer's.
        let refused = unsafe { descriptor_from(command::PROG_LOAD, &mut attributes) };
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        refused
            .map(|descriptor| Program { descriptor, purpose })
            .map_err(|error| format!("{name}: {error}\n{}", String::from_utf8_lossy(&log[..end])).into())
    }

    /// Runs the program on what the interface receives (TCX or XDP), until the link is dropped. The interface is looked
    /// up in the network namespace of the calling thread.
    pub fn attach(&self, interface: u32) -> Result<Link> {
        let (attach_type, flags) = self.purpose.hook();
        let mut attributes = LinkCreate {
            prog_fd: self.descriptor.as_raw_fd() as u32,
            target_ifindex: interface,
            attach_type,
            flags,
            ..LinkCreate::default()
        };
        // SAFETY: the attributes are those of this command and hold no pointers.
        let link = unsafe { descriptor_from(command::LINK_CREATE, &mut attributes) };
        Ok(Link(link.map_err(|error| format!("attaching to interface {interface}: {error}"))?))
    }
}

impl Program {
    /// Runs an XDP program so often on copies of the frame, which then go where it sent them.
    pub fn run_live(&self, frame: &[u8], repeat: u32) -> Result<()> {
        let mut attributes = ProgTestRun {
            prog_fd: self.descriptor.as_raw_fd() as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat,
            flags: LIVE_FRAMES,
            ..ProgTestRun::default()
        };
        // SAFETY: the attributes are those of this command, and the frame outlives the call.
        crate::system(unsafe { call(command::PROG_TEST_RUN, &mut attributes) })?;
        Ok(())
    }
}

/// Keeps a program attached; detaches it when dropped, also by the death of the process.
pub struct Link(#[expect(dead_code, reason = "held for its Drop")] OwnedFd);

fn create_map(map_type: u32, (key, value): (usize, usize), max_entries: u32) -> Result<OwnedFd> {
    let mut attributes = MapCreate {
        map_type,
        key_size: key as u32,
        value_size: value as u32,
        max_entries,
        ..MapCreate::default()
    };
    // SAFETY: the attributes are those of this command and hold no pointers.
    Ok(unsafe { descriptor_from(command::MAP_CREATE, &mut attributes) }?)
}

/// Looks up, updates or deletes; `key` and `value` point to what the map's sizes say.
fn element(map: &OwnedFd, command: i32, key: *const libc::c_void, value: *mut libc::c_void) -> Result<()> {
    let map_fd = map.as_raw_fd() as u32;
    let mut attributes = MapElement { map_fd, padding: 0, key: key as u64, value: value as u64, flags: 0 };
    // SAFETY: callers in this file derive both pointers from the types that the map was made with.
    match unsafe { call(command, &mut attributes) } {
        0.. => Ok(()),
        _ => Err(Error::last_os_error().into()),
    }
}

/// # Safety
/// As for `call`; and success of the command means a new descriptor.
unsafe fn descriptor_from<Attributes>(
    command: i32,
    attributes: &mut Attributes,
) -> std::result::Result<OwnedFd, Error> {
    // SAFETY: the caller's promise.
    match unsafe { call(command, attributes) } {
        // SAFETY: a descriptor that the kernel has just made and nobody else knows.
        descriptor @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(Error::last_os_error()),
    }
}

/// # Safety
/// `attributes` is the part of `union bpf_attr` that belongs to `command`, with valid pointers.
unsafe fn call<Attributes>(command: i32, attributes: &mut Attributes) -> i32 {
    // SAFETY: the kernel reads and writes no more than the size given.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<Attributes>() as u32)
    };
    result as i32
}

/// How many processors there may ever be, which is how many values a per-processor map has.
fn possible_cpus() -> Result<usize> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = list.trim().rsplit(['-', ',']).next().unwrap_or_default();
    Ok(last.parse::<usize>().map_err(|error| format!("possible processors {list:?}: {error}"))? + 1)
}
