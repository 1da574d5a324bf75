//! Calls of a CUDA library on a stream of CubeCL.
//!
//! Every device has one thread that submits its work, and every thread that computes has a stream there. A call that is
//! submitted to that thread as a kernel is, with the buffers it reads and writes named, is ordered as a kernel is: behind the
//! work of its own stream, behind the producers of buffers of other streams, and before any reuse of the buffers. The host
//! waits for nothing. A call that fails leaves its error on the buffers it should have written, where a later read finds it.

use std::any::TypeId;

use cubecl::cuda::CudaRuntime;
use cubecl::device_handle::{CallResultExt, DeviceHandle};
use cubecl::prelude::*;
use cubecl::server::{BufferBinding, Handle, IoError, Server as _, ServerError, ServerStorage};
use cubecl_core::environment::backtrace::BackTrace;
use cubecl_core::environment::stream::StreamId;
use cubecl_server::command::DeviceStream;
use cubecl_server::runtime::Runtime;
use cubecl_server::stream::{EventStreamBackend, ExecuteScope, ResolvedStreams, WriteScoped};
use cudarc::driver::sys::CUstream;

type Server = <CudaRuntime as Runtime>::Server;
type Storage = <Server as ServerStorage>::Storage;

/// The buffers of a call. One that is read and written stands in both lists.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) read: Vec<Handle>,
    pub(super) written: Vec<Handle>,
}

/// What a call is given: the stream, and the addresses of the buffers it reads, then of those it writes.
pub(super) struct Call {
    pub(super) stream: CUstream,
    pub(super) addresses: Vec<u64>,
}

/// Whether the client computes on CUDA.
pub(super) fn is_cuda(client: &Client) -> bool {
    client.service_id().service == TypeId::of::<Server>()
}

/// Submits a call and goes on. An error of it is found by whoever reads what it should have written.
pub(super) fn submit(
    client: &Client,
    buffers: Buffers,
    call: impl FnOnce(&Call) -> Result<(), String> + Send + 'static,
) {
    let stream = StreamId::current();
    let bindings = Bindings::of(buffers);
    device(client).submit(move |server| {
        // The error is on the buffers now.
        let _ = bindings.call(server, stream, call);
    });
}

/// Submits a call and waits until the device's thread has made it.
///
/// # Errors
/// When the call fails, or what it reads was never written.
pub(super) fn call<R: Send>(
    client: &Client,
    buffers: Buffers,
    call: impl FnOnce(&Call) -> Result<R, String> + Send,
) -> Result<R, ServerError> {
    let stream = StreamId::current();
    let bindings = Bindings::of(buffers);
    device(client).submit_blocking(move |server| bindings.call(server, stream, call)).unwrap_or_resume()
}

fn device(client: &Client) -> DeviceHandle<Server> {
    DeviceHandle::new(client.service_id().device)
}

/// An error for this reason.
pub(super) fn failure(reason: String) -> ServerError {
    ServerError::Generic { reason, backtrace: BackTrace::capture() }
}

struct Bindings {
    read: Vec<BufferBinding>,
    written: Vec<BufferBinding>,
}

impl Bindings {
    fn of(buffers: Buffers) -> Self {
        let bind = |handles: Vec<Handle>| handles.into_iter().map(Handle::binding).collect();
        Self { read: bind(buffers.read), written: bind(buffers.written) }
    }

    /// Makes the call, on the thread of the device, whose context is this device's.
    fn call<R>(
        self,
        server: &mut Server,
        stream: StreamId,
        call: impl FnOnce(&Call) -> Result<R, String>,
    ) -> Result<R, ServerError> {
        let Self { read, written } = self;
        // Before the scope, which marks what is written as failed until the call has been made.
        let trusted = server.check(read.clone(), stream);
        let scope = ExecuteScope::over(server, stream, written.clone());
        let outcome = scope.execute(|server| {
            trusted?;
            let bindings: Vec<BufferBinding> = read.into_iter().chain(written).collect();
            // Held until the call has been made: buffers of other streams are released behind what is on the stream then.
            let mut streams = server.write_streams().resolve(stream, bindings.iter())?;
            let addresses = bindings.into_iter().map(|binding| address(&mut streams, binding));
            let addresses = addresses.collect::<Result<_, _>>()?;
            let given = Call { stream: streams.current().signal(), addresses };
            call(&given).map_err(|reason| ServerError::Generic { reason, backtrace: BackTrace::capture() })
        });
        outcome.into_result()
    }
}

/// Where a buffer lies. A recording of the stream learns that it is used, as from a kernel.
fn address<B>(streams: &mut ResolvedStreams<B>, binding: BufferBinding) -> Result<u64, IoError>
where
    B: EventStreamBackend,
    B::Stream: DeviceStream<DeviceStorage = Storage>,
{
    streams.current().capturing().touch(binding.stream, binding.memory.descriptor().location());
    let memory = streams.get(&binding.stream).device_memory();
    Ok(memory.get_resource(binding.memory, binding.offset_start, binding.offset_end)?.ptr)
}
