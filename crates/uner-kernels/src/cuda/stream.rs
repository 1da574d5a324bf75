//! Calls of CUDA libraries on CubeCL's streams.
//!
//! Each device has one thread that submits its work, and each computing thread has a stream there.
//! A library call is submitted to the device's thread like a kernel, with the buffers it reads and
//! writes. It is then ordered like a kernel: after the work of its own stream, after the producers
//! of buffers of other streams, and before any reuse of the buffers. The host does not wait. A call
//! that fails leaves its error on the buffers it should have written, where a later read finds it.
//!
//! A call on a side stream ([`submit_beside`]) starts after the work that is on the thread's own
//! stream so far. Later work is ordered after the call only when its guard is dropped. Until then
//! the guard keeps the buffers alive.

use std::any::TypeId;
use std::sync::mpsc::{Receiver, channel};

use cubecl::cuda::CudaRuntime;
use cubecl::device_handle::{CallResultExt, DeviceHandle};
use cubecl::prelude::*;
use cubecl::server::{BufferBinding, Handle, IoError, Server as _, ServerError};
use cubecl_core::environment::backtrace::BackTrace;
use cubecl_core::environment::stream::StreamId;
use cubecl_server::command::DeviceStream;
use cubecl_server::runtime::Runtime;
use cubecl_server::stream::{
    EventStreamBackend, ExecuteScope, MultiStream, ResolvedStreams, WriteScoped,
};
use cudarc::driver::sys::CUstream;

type Server = <CudaRuntime as Runtime>::Server;
type Backend = <<Server as WriteScoped>::Streams as Backed>::Backend;
type Event = <Backend as EventStreamBackend>::Event;

/// Names the type that creates CUDA's streams, which CubeCL does not export.
trait Backed {
    type Backend: EventStreamBackend;
}

impl<B: EventStreamBackend> Backed for MultiStream<B> {
    type Backend = B;
}

/// The buffers of a call. A buffer that is read and written is in both lists.
#[derive(Debug, Default, Clone)]
pub(super) struct Buffers {
    pub(super) read: Vec<Handle>,
    pub(super) written: Vec<Handle>,
}

/// Arguments of a call: the stream, and the addresses of the buffers it reads, then of those it
/// writes.
pub(super) struct Call {
    pub(super) stream: CUstream,
    pub(super) addresses: Vec<u64>,
}

/// Whether the client computes on CUDA.
pub(super) fn is_cuda(client: &Client) -> bool {
    client.service_id().service == TypeId::of::<Server>()
}

/// Submits a call and returns. An error appears when the written buffers are read.
pub(super) fn submit(
    client: &Client,
    buffers: Buffers,
    call: impl FnOnce(&Call) -> Result<(), String> + Send + 'static,
) {
    let stream = StreamId::current();
    let bindings = Bindings::of(buffers);
    device(client).submit(move |server| {
        // The buffers carry the error now.
        let _ = bindings.call(server, stream, call);
    });
}

/// Submits a call and waits until the device's thread has made it.
///
/// # Errors
/// When the call fails, or a buffer it reads was never written.
pub(super) fn call<R: Send>(
    client: &Client,
    buffers: Buffers,
    call: impl FnOnce(&Call) -> Result<R, String> + Send,
) -> Result<R, ServerError> {
    let stream = StreamId::current();
    let bindings = Bindings::of(buffers);
    device(client)
        .submit_blocking(move |server| bindings.call(server, stream, call))
        .unwrap_or_resume()
}

/// Allocates a stream for calls beside the streams of the computing threads. It is one of CubeCL's,
/// because CubeCL waits for all of these before it moves a buffer.
pub(super) fn side_stream() -> StreamId {
    StreamId::allocate()
}

/// Submits a call on the stream `side` and returns. The call is made even if its inputs were never
/// written, because other devices may wait for it. An error then appears when the written buffers
/// are read.
pub(super) fn submit_beside(
    client: &Client,
    side: StreamId,
    buffers: Buffers,
    call: impl FnOnce(&Call) -> Result<(), String> + Send + 'static,
) -> InFlight {
    let stream = StreamId::current();
    let bindings = Bindings::of(buffers.clone());
    let (sender, receiver) = channel();
    device(client).submit(move |server| {
        // The receiver is still there, or does not need the result.
        let _ = sender.send(bindings.call_beside(server, (stream, side), call));
    });
    InFlight(Some(Pending { client: client.clone(), buffers, receiver }))
}

/// A call on a side stream. Dropping this orders the caller's later work after the call, and only
/// then releases the buffers, so that no later kernel reuses their memory too early.
pub(super) struct InFlight(Option<Pending>);

struct Pending {
    client: Client,
    buffers: Buffers,
    receiver: Receiver<Result<Started, ServerError>>,
}

/// A call that was made: the event at its end, and its error, if any.
struct Started {
    end: Event,
    failure: Option<ServerError>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(Pending { client, buffers, receiver }) = self.0.take() else { return };
        let stream = StreamId::current();
        let bindings = Bindings::of(buffers);
        device(&client).submit(move |server| {
            // The device's thread works in order: the call was made, or never will be.
            let started = receiver
                .try_recv()
                .unwrap_or_else(|_| Err(failure("the call was not made".to_owned())));
            // The buffers carry the error now.
            let _ = bindings.wait(server, stream, started);
        });
    }
}

fn device(client: &Client) -> DeviceHandle<Server> {
    DeviceHandle::new(client.service_id().device)
}

/// An error with this reason.
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

    /// Makes the call on the device's thread, whose context is that of this device.
    fn call<R>(
        self,
        server: &mut Server,
        stream: StreamId,
        call: impl FnOnce(&Call) -> Result<R, String>,
    ) -> Result<R, ServerError> {
        let Self { read, written } = self;
        // Before the scope, which marks the written buffers as failed until the call has been made.
        let trusted = server.check(read.clone(), stream);
        let scope = ExecuteScope::over(server, stream, written.clone());
        let outcome = scope.execute(|server| {
            trusted?;
            let bindings: Vec<BufferBinding> = read.into_iter().chain(written).collect();
            // Alive until the call has been made: buffers of other streams are released after the
            // work that is on the stream then.
            let mut streams = server.write_streams().resolve(stream, bindings.iter())?;
            let addresses = addresses(&mut streams, bindings)?;
            let given = Call { stream: streams.current().signal(), addresses };
            call(&given).map_err(failure)
        });
        outcome.into_result()
    }

    /// Makes the call on `side`, after the work on `stream`.
    fn call_beside(
        self,
        server: &mut Server,
        (stream, side): (StreamId, StreamId),
        call: impl FnOnce(&Call) -> Result<(), String>,
    ) -> Result<Started, ServerError> {
        let Self { read, written } = self;
        let untrusted = server.check(read.clone(), stream).err();
        // The first call creates the stream.
        let beside = server.write_streams().resolve(side, [].into_iter())?.current().signal();
        let bindings: Vec<BufferBinding> = read.into_iter().chain(written).collect();
        let mut streams = server.write_streams().resolve(stream, bindings.iter())?;
        let addresses = addresses(&mut streams, bindings)?;
        let ready = event(&mut streams, stream);
        Backend::wait_event(streams.get(&side), ready)?;
        let failed = call(&Call { stream: beside, addresses }).err().map(failure);
        Ok(Started { end: event(&mut streams, side), failure: untrusted.or(failed) })
    }

    /// Orders later work on `stream` after a call that was made on a side stream.
    fn wait(
        self,
        server: &mut Server,
        stream: StreamId,
        started: Result<Started, ServerError>,
    ) -> Result<(), ServerError> {
        let Self { read, written } = self;
        let outcome = ExecuteScope::over(server, stream, written.clone()).execute(|server| {
            let Started { end, failure } = started?;
            let bindings: Vec<BufferBinding> = read.into_iter().chain(written).collect();
            let mut streams = server.write_streams().resolve(stream, bindings.iter())?;
            Backend::wait_event(streams.current(), end)?;
            failure.map_or(Ok(()), Err)
        });
        outcome.into_result()
    }
}

/// An event after all work on a stream so far.
fn event(streams: &mut ResolvedStreams<Backend>, stream: StreamId) -> Event {
    let (stream, failures) = streams.get_and_failures(&stream);
    Backend::flush(stream, failures)
}

fn addresses(
    streams: &mut ResolvedStreams<Backend>,
    bindings: Vec<BufferBinding>,
) -> Result<Vec<u64>, IoError> {
    bindings.into_iter().map(|binding| address(streams, binding)).collect()
}

/// The address of a buffer. If the stream is being recorded, the recording notes the use, as for a
/// kernel.
fn address(streams: &mut ResolvedStreams<Backend>, binding: BufferBinding) -> Result<u64, IoError> {
    streams.current().capturing().touch(binding.stream, binding.memory.descriptor().location());
    let memory = streams.get(&binding.stream).device_memory();
    Ok(memory.get_resource(binding.memory, binding.offset_start, binding.offset_end)?.ptr)
}
