//! Calls of a CUDA library on a stream of CubeCL.
//!
//! Every device has one thread that submits its work, and every thread that computes has a stream
//! there. A call that is submitted to that thread as a kernel is, with the buffers it reads and
//! writes named, is ordered as a kernel is: behind the work of its own stream, behind the producers
//! of buffers of other streams, and before any reuse of the buffers. The host waits for nothing. A
//! call that fails leaves its error on the buffers it should have written, where a later read finds
//! it.
//!
//! A call [beside](submit_beside) the thread's own stream starts behind what is on that stream so
//! far, and what comes later is ordered behind the call only when its guard is let go of. Until
//! then the guard holds the buffers.

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

/// Names the type that makes CUDA's streams, which CubeCL keeps to itself.
trait Backed {
    type Backend: EventStreamBackend;
}

impl<B: EventStreamBackend> Backed for MultiStream<B> {
    type Backend = B;
}

/// The buffers of a call. One that is read and written stands in both lists.
#[derive(Debug, Default, Clone)]
pub(super) struct Buffers {
    pub(super) read: Vec<Handle>,
    pub(super) written: Vec<Handle>,
}

/// What a call is given: the stream, and the addresses of the buffers it reads, then of those it
/// writes.
pub(super) struct Call {
    pub(super) stream: CUstream,
    pub(super) addresses: Vec<u64>,
}

/// Whether the client computes on CUDA.
pub(super) fn is_cuda(client: &Client) -> bool {
    client.service_id().service == TypeId::of::<Server>()
}

/// Submits a call and goes on. An error of it is found by whoever reads what it should have
/// written.
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
    device(client)
        .submit_blocking(move |server| bindings.call(server, stream, call))
        .unwrap_or_resume()
}

/// A stream for calls beside those of the threads that compute. It is one of CubeCL's, because
/// CubeCL waits for all of these before it moves a buffer.
pub(super) fn side_stream() -> StreamId {
    StreamId::allocate()
}

/// Submits a call on the stream `side` and goes on. The call is made even where what it reads was
/// never written, because other devices may wait for it; an error is then found by whoever reads
/// what it should have written.
pub(super) fn submit_beside(
    client: &Client,
    side: StreamId,
    buffers: Buffers,
    call: impl FnOnce(&Call) -> Result<(), String> + Send + 'static,
) -> InFlight {
    let stream = StreamId::current();
    let bindings = Bindings::of(buffers.clone());
    let (tell, told) = channel();
    device(client).submit(move |server| {
        // Whoever wants to know is still there, or needs to know nothing.
        let _ = tell.send(bindings.call_beside(server, (stream, side), call));
    });
    InFlight(Some(Held { client: client.clone(), buffers, told }))
}

/// A call beside the caller's stream. Dropping this puts what the caller submits from then on
/// behind the call, and only then lets go of the buffers, so that no later kernel gets their memory
/// too early.
pub(super) struct InFlight(Option<Held>);

struct Held {
    client: Client,
    buffers: Buffers,
    told: Receiver<Result<Started, ServerError>>,
}

/// A call that was made: when it ends, and what went wrong nevertheless.
struct Started {
    end: Event,
    failure: Option<ServerError>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(Held { client, buffers, told }) = self.0.take() else { return };
        let stream = StreamId::current();
        let bindings = Bindings::of(buffers);
        device(&client).submit(move |server| {
            // The device's thread works in order: the call was made, or will never be.
            let started = told
                .try_recv()
                .unwrap_or_else(|_| Err(failure("the call was not made".to_owned())));
            // The error is on the buffers now.
            let _ = bindings.wait(server, stream, started);
        });
    }
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
            // Held until the call has been made: buffers of other streams are released behind what
            // is on the stream then.
            let mut streams = server.write_streams().resolve(stream, bindings.iter())?;
            let addresses = addresses(&mut streams, bindings)?;
            let given = Call { stream: streams.current().signal(), addresses };
            call(&given).map_err(failure)
        });
        outcome.into_result()
    }

    /// Makes the call on `side`, behind what is on `stream`.
    fn call_beside(
        self,
        server: &mut Server,
        (stream, side): (StreamId, StreamId),
        call: impl FnOnce(&Call) -> Result<(), String>,
    ) -> Result<Started, ServerError> {
        let Self { read, written } = self;
        let untrusted = server.check(read.clone(), stream).err();
        // The first time this makes the stream.
        let beside = server.write_streams().resolve(side, [].into_iter())?.current().signal();
        let bindings: Vec<BufferBinding> = read.into_iter().chain(written).collect();
        let mut streams = server.write_streams().resolve(stream, bindings.iter())?;
        let addresses = addresses(&mut streams, bindings)?;
        let ready = event(&mut streams, stream);
        Backend::wait_event(streams.get(&side), ready)?;
        let failed = call(&Call { stream: beside, addresses }).err().map(failure);
        Ok(Started { end: event(&mut streams, side), failure: untrusted.or(failed) })
    }

    /// Puts what comes later on `stream` behind a call that was made beside it.
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

/// An event behind all that is on a stream so far.
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

/// Where a buffer lies. A recording of the stream learns that it is used, as from a kernel.
fn address(streams: &mut ResolvedStreams<Backend>, binding: BufferBinding) -> Result<u64, IoError> {
    streams.current().capturing().touch(binding.stream, binding.memory.descriptor().location());
    let memory = streams.get(&binding.stream).device_memory();
    Ok(memory.get_resource(binding.memory, binding.offset_start, binding.offset_end)?.ptr)
}
