//! The NCCL functions in use, and a communicator (a rank's NCCL handle).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use burn::tensor::DType;
use cudarc::driver::sys::CUstream;
use cudarc::nccl::sys::{ncclDataType_t as Type, ncclRedOp_t};
use libloading::Library;

use super::cut::Operation;
use crate::device::cuda::nccl::library;

/// A plain number, because later versions return results that the binding lacks.
type Status = c_int;
type Handle = *mut c_void;

/// The functions, as `nccl.h` declares them.
#[derive(Debug, Clone, Copy)]
struct Functions {
    connect: unsafe extern "C" fn(*mut Handle, c_int, *const c_int) -> Status,
    abort: unsafe extern "C" fn(Handle) -> Status,
    error: unsafe extern "C" fn(Status) -> *const c_char,
    start: unsafe extern "C" fn() -> Status,
    end: unsafe extern "C" fn() -> Status,
    reduce_scatter: unsafe extern "C" fn(
        *const c_void,
        *mut c_void,
        usize,
        Type,
        ncclRedOp_t,
        Handle,
        CUstream,
    ) -> Status,
    reduce: unsafe extern "C" fn(
        *const c_void,
        *mut c_void,
        usize,
        Type,
        ncclRedOp_t,
        c_int,
        Handle,
        CUstream,
    ) -> Status,
    all_gather:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, Type, Handle, CUstream) -> Status,
    broadcast: unsafe extern "C" fn(
        *const c_void,
        *mut c_void,
        usize,
        Type,
        c_int,
        Handle,
        CUstream,
    ) -> Status,
}

/// One collective of one vector.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    pub(super) operation: Operation,
    pub(super) dtype: DType,
    /// Address of the data to send.
    pub(super) sent: u64,
    /// Address of the data to receive; 0 if the rank receives none.
    pub(super) received: u64,
}

/// A rank's NCCL handle.
#[derive(Debug)]
pub(super) struct Communicator {
    functions: Functions,
    /// `None` after an abort.
    handle: Mutex<Option<CommHandle>>,
}

#[derive(Debug, Clone, Copy)]
struct CommHandle(Handle);

// SAFETY: any thread may use a communicator, but only one at a time, which the mutex around it
// ensures.
#[expect(unsafe_code, reason = "a pointer to an object of the library")]
unsafe impl Send for CommHandle {}

/// Creates one communicator for each of these device numbers.
///
/// # Errors
/// When the library is missing or refuses the devices.
pub(super) fn connect(devices: &[c_int]) -> Result<Vec<Communicator>, String> {
    let library = library().ok_or("`libnccl.so.2` cannot be opened")?;
    let functions = Functions::of(library)
        .map_err(|error| format!("`libnccl.so.2` lacks a function: {error}"))?;
    let mut handles = vec![std::ptr::null_mut(); devices.len()];
    // SAFETY: there is room for as many handles as there are devices.
    #[expect(unsafe_code, reason = "a call of the library's C interface")]
    let status = unsafe {
        (functions.connect)(handles.as_mut_ptr(), devices.len() as c_int, devices.as_ptr())
    };
    functions.check("cannot connect the devices", status)?;
    let communicator =
        |handle| Communicator { functions, handle: Mutex::new(Some(CommHandle(handle))) };
    Ok(handles.into_iter().map(communicator).collect())
}

impl Functions {
    #[expect(
        unsafe_code,
        reason = "the library's functions have the types that its header gives them"
    )]
    fn of(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: names and types are those of `nccl.h`, the same in all versions from 2.2 on; the
        // library stays open.
        unsafe {
            Ok(Self {
                connect: *library.get(b"ncclCommInitAll")?,
                abort: *library.get(b"ncclCommAbort")?,
                error: *library.get(b"ncclGetErrorString")?,
                start: *library.get(b"ncclGroupStart")?,
                end: *library.get(b"ncclGroupEnd")?,
                reduce_scatter: *library.get(b"ncclReduceScatter")?,
                reduce: *library.get(b"ncclReduce")?,
                all_gather: *library.get(b"ncclAllGather")?,
                broadcast: *library.get(b"ncclBroadcast")?,
            })
        }
    }

    fn check(&self, what: &str, status: Status) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the library returns a static text for every number.
        #[expect(unsafe_code, reason = "a call of the library's C interface")]
        let reason = unsafe { CStr::from_ptr((self.error)(status)) };
        Err(format!("NCCL {what}: {}", reason.to_string_lossy()))
    }
}

impl Communicator {
    /// Starts all transfers on the stream, as one kernel if they allow it.
    ///
    /// # Errors
    /// When the library refuses one, or the communicator was aborted.
    pub(super) fn start(&self, transfers: &[Transfer], stream: CUstream) -> Result<(), String> {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(CommHandle(handle)) = *handle else {
            return Err("NCCL was aborted, because another rank has failed".to_owned());
        };
        // SAFETY: takes nothing; the group ends below, on the same thread.
        #[expect(unsafe_code, reason = "a call of the library's C interface")]
        let status = unsafe { (self.functions.start)() };
        self.functions.check("cannot start a group", status)?;
        let started =
            transfers.iter().try_for_each(|transfer| self.add(transfer, (handle, stream)));
        // SAFETY: takes nothing; a group was started.
        #[expect(unsafe_code, reason = "a call of the library's C interface")]
        let status = unsafe { (self.functions.end)() };
        started.and_then(|()| self.functions.check("refused a group", status))
    }

    fn add(&self, transfer: &Transfer, (handle, stream): (Handle, CUstream)) -> Result<(), String> {
        let Transfer { operation, dtype, sent, received } = *transfer;
        let Functions { reduce_scatter, reduce, all_gather, broadcast, .. } = self.functions;
        let size = dtype.size();
        let kind = match dtype {
            DType::F32 => Type::ncclFloat32,
            DType::BF16 => Type::ncclBfloat16,
            other => return Err(format!("NCCL exchanges f32 and bf16, not {other:?}")),
        };
        let (sent, received) = (sent as *const c_void, received as *mut c_void);
        let sum = ncclRedOp_t::ncclSum;
        // SAFETY: the addresses belong to buffers of the device that live until the stream has
        // passed the group's end, and that are as long as the edges behind the operations require.
        // A rank that receives nothing from a reduction needs no buffer.
        #[expect(unsafe_code, reason = "calls of the library's C interface")]
        let status = unsafe {
            match operation {
                Operation::ReduceScatter { len } => {
                    reduce_scatter(sent, received, len, kind, sum, handle, stream)
                }
                Operation::Reduce { start, len, root } => {
                    let part = sent.byte_add(start * size);
                    reduce(part, received, len, kind, sum, root as c_int, handle, stream)
                }
                Operation::AllGather { len } => {
                    all_gather(sent, received, len, kind, handle, stream)
                }
                Operation::Broadcast { start, len, root } => {
                    let part = received.byte_add(start * size);
                    broadcast(sent, part, len, kind, root as c_int, handle, stream)
                }
            }
        };
        self.functions.check(&format!("refused {operation:?}"), status)
    }

    /// Aborts the collectives in flight. Skips a communicator that another thread is using, because
    /// an abort would free it under that thread.
    pub(super) fn abort(&self) {
        let handle = match self.handle.try_lock() {
            Ok(handle) => Some(handle),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(CommHandle(handle)) =
            handle.and_then(|mut handle: MutexGuard<Option<CommHandle>>| handle.take())
        {
            // SAFETY: created by the library, and not used again. An error cannot be handled.
            #[expect(unsafe_code, reason = "a call of the library's C interface")]
            let _ = unsafe { (self.functions.abort)(handle) };
        }
    }
}

impl Drop for Communicator {
    /// Aborts, because an orderly end would wait for ranks that may have failed.
    fn drop(&mut self) {
        self.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_has_every_function() {
        match library() {
            Some(library) => drop(Functions::of(library).unwrap()),
            None => eprintln!("SKIPPED: NCCL is not installed"),
        }
    }
}
