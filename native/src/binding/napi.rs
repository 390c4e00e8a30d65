//! The part of Node-API that is used here: numbers, bytes, errors, a bell. By hand, as it is small and the ABI does not
//! change: <https://nodejs.org/api/n-api.html>.

use std::any::Any;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::null_mut;

pub type Env = *mut c_void;
pub type Value = *mut c_void;
type Status = c_int;
type CallbackInfo = *mut c_void;
type Callback = unsafe extern "C" fn(Env, CallbackInfo) -> Value;

const OK: Status = 0;
const UINT8_ARRAY: c_int = 1;
const FLOAT64_ARRAY: c_int = 8;
const ABORT: c_int = 1;
const BLOCKING: c_int = 1;

extern "C" {
    fn napi_create_function(
        env: Env,
        name: *const c_char,
        length: usize,
        callback: Callback,
        data: *mut c_void,
        result: *mut Value,
    ) -> Status;
    fn napi_set_named_property(env: Env, object: Value, name: *const c_char, value: Value) -> Status;
    fn napi_get_cb_info(
        env: Env,
        info: CallbackInfo,
        count: *mut usize,
        values: *mut Value,
        this: *mut Value,
        data: *mut *mut c_void,
    ) -> Status;
    fn napi_get_value_double(env: Env, value: Value, result: *mut f64) -> Status;
    fn napi_get_typedarray_info(
        env: Env,
        array: Value,
        kind: *mut c_int,
        length: *mut usize,
        data: *mut *mut c_void,
        buffer: *mut Value,
        offset: *mut usize,
    ) -> Status;
    fn napi_create_double(env: Env, value: f64, result: *mut Value) -> Status;
    fn napi_create_string_utf8(env: Env, text: *const c_char, length: usize, result: *mut Value) -> Status;
    fn napi_get_undefined(env: Env, result: *mut Value) -> Status;
    fn napi_throw_error(env: Env, code: *const c_char, message: *const c_char) -> Status;
    fn napi_add_env_cleanup_hook(
        env: Env,
        hook: unsafe extern "C" fn(*mut c_void),
        argument: *mut c_void,
    ) -> Status;
    fn napi_remove_env_cleanup_hook(
        env: Env,
        hook: unsafe extern "C" fn(*mut c_void),
        argument: *mut c_void,
    ) -> Status;
    fn napi_create_threadsafe_function(
        env: Env,
        function: Value,
        resource: Value,
        name: Value,
        max_queue: usize,
        threads: usize,
        finalize_data: *mut c_void,
        finalize: *const c_void,
        context: *mut c_void,
        call: *const c_void,
        result: *mut *mut c_void,
    ) -> Status;
    fn napi_unref_threadsafe_function(env: Env, function: *mut c_void) -> Status;
    fn napi_call_threadsafe_function(function: *mut c_void, data: *mut c_void, mode: c_int) -> Status;
    fn napi_release_threadsafe_function(function: *mut c_void, mode: c_int) -> Status;
}

/// Arguments of a call, and what it may do with them. Each error is thrown as a JavaScript error.
pub struct Call {
    env: Env,
    values: [Value; MAX_ARGUMENTS],
    count: usize,
}

const MAX_ARGUMENTS: usize = 8;

/// What an exported function gives: a number, a text, or nothing; or why not.
pub enum Answer {
    Number(f64),
    Text(String),
    Nothing,
}

pub type Result = std::result::Result<Answer, String>;
/// An exported function.
pub type Function = fn(&Call) -> Result;

impl Call {
    pub fn number(&self, at: usize) -> std::result::Result<f64, String> {
        let mut number = 0.0;
        // SAFETY: the value is one of this call, or undefined; `number` has room.
        match unsafe { napi_get_value_double(self.env, self.value(at)?, &mut number) } {
            OK => Ok(number),
            _ => Err(format!("argument {at}: not a number")),
        }
    }

    /// A number that names something: whole, from 0, exact.
    pub fn id(&self, at: usize) -> std::result::Result<u64, String> {
        exact(self.number(at)?).ok_or_else(|| format!("argument {at}: not a whole number"))
    }

    /// The bytes of a Uint8Array, valid during the call: nothing else runs in JavaScript meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub fn bytes(&self, at: usize) -> std::result::Result<&mut [u8], String> {
        self.array(at, UINT8_ARRAY)
    }

    /// The numbers of a Float64Array, as of `bytes`. Two arguments must not be the same array.
    #[allow(clippy::mut_from_ref)]
    pub fn numbers(&self, at: usize) -> std::result::Result<&mut [f64], String> {
        self.array(at, FLOAT64_ARRAY)
    }

    #[allow(clippy::mut_from_ref)]
    fn array<T>(&self, at: usize, wanted: c_int) -> std::result::Result<&mut [T], String> {
        let (mut kind, mut length, mut data) = (-1, 0, null_mut());
        let value = self.value(at)?;
        // SAFETY: there is room for each result, those that are null are not wanted.
        let status = unsafe {
            napi_get_typedarray_info(
                self.env,
                value,
                &mut kind,
                &mut length,
                &mut data,
                null_mut(),
                null_mut(),
            )
        };
        if status != OK || kind != wanted {
            return Err(format!("argument {at}: not the typed array that is wanted"));
        }
        if length == 0 {
            return Ok(&mut []);
        }
        // SAFETY: JavaScript keeps the array for the call, and it has `length` elements of the kind that was checked, which
        // Node aligns.
        Ok(unsafe { std::slice::from_raw_parts_mut(data.cast::<T>(), length) })
    }

    fn value(&self, at: usize) -> std::result::Result<Value, String> {
        match at < self.count {
            true => Ok(self.values[at]),
            false => Err(format!("argument {at} is missing")),
        }
    }

    /// A bell that calls the function which is an argument, without arguments, soon, in JavaScript's thread. It keeps no
    /// process running.
    pub fn bell(&self, at: usize) -> std::result::Result<Bell, String> {
        let function = self.value(at)?;
        let (mut name, mut bell) = (null_mut(), null_mut());
        let text = c"sluice datapath";
        // SAFETY: valid pointers; without a callback of ours Node calls the function itself.
        let status = unsafe {
            napi_create_string_utf8(self.env, text.as_ptr(), text.count_bytes(), &mut name);
            let none = std::ptr::null();
            napi_create_threadsafe_function(
                self.env,
                function,
                null_mut(),
                name,
                0,
                1,
                null_mut(),
                none,
                null_mut(),
                none,
                &mut bell,
            )
        };
        if status != OK {
            return Err(format!("argument {at}: not a function"));
        }
        // SAFETY: it was just made in this environment.
        unsafe { napi_unref_threadsafe_function(self.env, bell) };
        Ok(Bell(bell))
    }

    /// Calls `hook` with `argument` before the environment ends: at exit, or when a worker thread stops.
    pub fn at_end(&self, hook: unsafe extern "C" fn(*mut c_void), argument: usize) {
        // SAFETY: the argument is a number to the hook.
        unsafe { napi_add_env_cleanup_hook(self.env, hook, argument as *mut c_void) };
    }

    /// Takes back `at_end`.
    pub fn not_at_end(&self, hook: unsafe extern "C" fn(*mut c_void), argument: usize) {
        // SAFETY: as of `at_end`; one that is not there is ignored.
        unsafe { napi_remove_env_cleanup_hook(self.env, hook, argument as *mut c_void) };
    }
}

/// The whole number that a float is exactly.
pub fn exact(number: f64) -> Option<u64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    ((0.0..LIMIT).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

/// Calls a function in JavaScript's thread, from any thread.
#[derive(Clone, Copy)]
pub struct Bell(*mut c_void);

// SAFETY: Node says that these functions may be called from any thread.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    /// Must not be called after `release`, or after the environment has ended.
    pub fn ring(&self) {
        // SAFETY: the caller's promise. The queue has no bound and so nothing blocks; there is one entry at most, since who
        // rings waits for what was rung for.
        unsafe { napi_call_threadsafe_function(self.0, null_mut(), BLOCKING) };
    }

    /// In JavaScript's thread.
    pub fn release(self) {
        // SAFETY: whoever has the bell gives it up.
        unsafe { napi_release_threadsafe_function(self.0, ABORT) };
    }
}

/// Adds a function to the module.
///
/// # Safety
/// `env` and `exports` are those of the call that registers the module.
pub unsafe fn export(env: Env, exports: Value, name: &CStr, function: &'static Function) {
    let mut value = null_mut();
    let data = (&raw const *function).cast_mut().cast();
    // SAFETY: the caller's promise; `data` lives as long as the program.
    unsafe {
        napi_create_function(env, name.as_ptr(), name.count_bytes(), enter, data, &mut value);
        napi_set_named_property(env, exports, name.as_ptr(), value);
    }
}

unsafe extern "C" fn enter(env: Env, info: CallbackInfo) -> Value {
    let mut call = Call { env, values: [null_mut(); MAX_ARGUMENTS], count: MAX_ARGUMENTS };
    let mut data = null_mut();
    // SAFETY: there is room for as many arguments as are asked for; `data` is what `export` has given.
    let function = unsafe {
        napi_get_cb_info(env, info, &mut call.count, call.values.as_mut_ptr(), null_mut(), &mut data);
        &*data.cast::<Function>()
    };
    call.count = call.count.min(MAX_ARGUMENTS);
    // A panic must not unwind into Node.
    let result = catch_unwind(AssertUnwindSafe(|| function(&call)))
        .unwrap_or_else(|panic| Err(format!("the native engine panicked: {}", panic_text(&*panic))));
    let mut value = null_mut();
    // SAFETY: valid texts of the lengths that are said.
    unsafe {
        match result {
            Ok(Answer::Number(number)) => napi_create_double(env, number, &mut value),
            Ok(Answer::Text(text)) => {
                napi_create_string_utf8(env, text.as_ptr().cast(), text.len(), &mut value)
            }
            Ok(Answer::Nothing) => napi_get_undefined(env, &mut value),
            Err(message) => {
                let message = std::ffi::CString::new(message.replace('\0', " ")).unwrap_or_default();
                napi_throw_error(env, c"DATAPATH_NATIVE".as_ptr(), message.as_ptr())
            }
        };
    }
    value
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    (panic.downcast_ref::<&str>().copied())
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}
