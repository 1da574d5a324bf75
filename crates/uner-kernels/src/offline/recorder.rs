//! A device that runs nothing: it has the properties of a card and records the launches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{DType, Shape};
use burn_cubecl::CubeDevice;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::client::Client;
use cubecl::device::CudaDevice;
use cubecl_core::CubeKernel;
use cubecl_core::bytes::Bytes;
use cubecl_core::device::{DeviceId, DeviceService, ServerUtilitiesHandle, ServiceId};
use cubecl_core::environment::{future::DynFut, stream::StreamId};
use cubecl_core::profile::{Duration, Instant, ProfileDuration};
use cubecl_server::allocator::PitchedMemoryLayoutPolicy;
use cubecl_server::dry_run::LaunchMode;
use cubecl_server::logging::ServerLogger;
use cubecl_server::memory_management::{
    ManagedMemoryHandle, MemoryAllocationMode, StreamMemoryReport,
};
use cubecl_server::server::{
    BufferBinding, CopyDescriptor, CubeCount, IoError, KernelArguments, ProfileError,
    ProfilingToken, Server, ServerCommunication, ServerError, ServerStorage, ServerUtilities,
};
use cubecl_server::storage::{ComputeStorage, ManagedResource, StorageHandle, StorageId};

pub(crate) use super::properties::Card;
use super::properties::{ALIGNMENT, properties_of, target_properties};
use crate::cube::Floats;

/// Duration that every profile reports: as long as autotuning wants one run to take, so that it
/// does not repeat the run.
const PROFILED: Duration = Duration::from_millis(20);

/// The cards by the number of their device.
const CARDS: [Card; 3] = [Card::Hopper, Card::Ampere, Card::Part];

/// Launches since recording began. CubeCL creates the server, so only a static reaches it.
static RECORDED: Mutex<Vec<Launch>> = Mutex::new(Vec::new());
/// Locked during a recording, so that two threads do not record each other's launches.
static RECORDING: Mutex<()> = Mutex::new(());

/// One launch, as the runtime would have received it.
pub(super) struct Launch {
    pub(super) kernel: Box<dyn CubeKernel>,
    /// Cubes in x, y and z; `None` if a buffer on the device has the count.
    pub(super) cube_count: Option<(u32, u32, u32)>,
    /// Buffers, scalars and lengths.
    pub(super) arguments: KernelArguments,
}

/// The device.
pub(crate) struct Recorder {
    pub(crate) client: Client,
}

impl Recorder {
    pub(crate) fn of(card: Card) -> Self {
        let number =
            CARDS.iter().position(|known| *known == card).expect("every card has a number");
        Self {
            client: Client::load::<RecordingServer>(DeviceId {
                type_id: 0,
                index_id: number as u16,
            }),
        }
    }

    /// A contiguous tensor without memory.
    pub(super) fn tensor(&self, shape: impl Into<Shape>, dtype: DType) -> Floats {
        let device = CubeDevice::Cuda(CudaDevice { index: 0 });
        empty_device_contiguous_dtype(self.client.clone(), device, shape.into(), dtype)
    }

    /// Waits until every launch is recorded.
    pub(super) fn flush(&self) {
        self.client.flush().expect("nothing runs, so nothing fails");
    }

    /// Runs `call` and returns its launches, in order.
    pub(super) fn record(&self, call: impl FnOnce(&Self)) -> Vec<Launch> {
        let _alone = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
        recorded().clear();
        call(self);
        self.flush();
        std::mem::take(&mut *recorded())
    }
}

fn recorded() -> MutexGuard<'static, Vec<Launch>> {
    RECORDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server behind the device.
#[derive(Debug)]
struct RecordingServer {
    utilities: Arc<ServerUtilities>,
}

impl DeviceService for RecordingServer {
    fn init(device: DeviceId) -> Self {
        let (utilities, _) = ServerUtilities::init(
            ServiceId::of::<Self>(device),
            "cuda",
            properties_of(CARDS[device.index_id as usize]),
            target_properties(),
            Arc::new(ServerLogger::default()),
            PitchedMemoryLayoutPolicy::new(ALIGNMENT as usize),
        );
        Self { utilities: Arc::new(utilities) }
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        self.utilities.clone()
    }
}

impl ServerCommunication for RecordingServer {}

impl Server for RecordingServer {
    #[expect(
        unsafe_code,
        reason = "the trait's method is unsafe because servers run kernels; this one does not"
    )]
    unsafe fn launch(
        &mut self,
        kernel: Box<dyn CubeKernel>,
        count: CubeCount,
        arguments: KernelArguments,
        _: StreamId,
        _: LaunchMode,
    ) {
        let cube_count = match count {
            CubeCount::Static(x, y, z) => Some((x, y, z)),
            CubeCount::Dynamic(_) => None,
        };
        recorded().push(Launch { kernel, cube_count, arguments });
    }

    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }

    fn utilities(&self) -> Arc<ServerUtilities> {
        self.utilities.clone()
    }

    fn initialize_memory(
        &mut self,
        _: ManagedMemoryHandle,
        _: u64,
        _: StreamId,
    ) -> Result<(), ServerError> {
        Ok(())
    }

    fn write(&mut self, _: Vec<(CopyDescriptor, Bytes)>, _: StreamId) {}

    /// Returns zeros, whatever was written.
    fn read(
        &mut self,
        descriptors: Vec<CopyDescriptor>,
        _: StreamId,
    ) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let sizes = descriptors.into_iter().map(|what| what.shape.num_elements() * what.elem_size);
        let zeros = sizes.map(|size| Bytes::from_bytes_vec(vec![0; size])).collect();
        Box::pin(async move { Ok(zeros) })
    }

    fn sync(&mut self, _: Vec<BufferBinding>, _: StreamId) -> DynFut<Result<(), ServerError>> {
        Box::pin(async { Ok(()) })
    }

    fn check(&mut self, _: Vec<BufferBinding>, _: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn flush(&mut self, _: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn memory_report(&mut self, _: StreamId) -> Option<StreamMemoryReport> {
        None
    }

    fn memory_cleanup(&mut self, _: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn allocation_mode(&mut self, _: MemoryAllocationMode, _: StreamId) {}

    fn start_profile(&mut self, _: StreamId) -> Result<ProfilingToken, ServerError> {
        Ok(ProfilingToken { id: 0 })
    }

    /// Returns the same duration whatever ran, so that burn's autotuning makes the same choice each
    /// time. With a duration of 0, it would measure ever longer runs.
    fn end_profile(
        &mut self,
        _: StreamId,
        _: ProfilingToken,
    ) -> Result<ProfileDuration, ProfileError> {
        let start = Instant::now();
        Ok(ProfileDuration::new_system_time(start, start + PROFILED))
    }
}

/// A server has to name a storage; this one has none.
enum NoStorage {}

impl ComputeStorage for NoStorage {
    type Resource = ();

    fn alignment(&self) -> usize {
        match *self {}
    }

    fn get(&mut self, _: &StorageHandle) -> Result<(), IoError> {
        match *self {}
    }

    fn alloc(&mut self, _: u64) -> Result<StorageHandle, IoError> {
        match *self {}
    }

    fn dealloc(&mut self, _: StorageId) {
        match *self {}
    }

    fn flush(&mut self) {
        match *self {}
    }

    fn bytes_allocated(&self) -> u64 {
        match *self {}
    }
}

impl ServerStorage for RecordingServer {
    type Storage = NoStorage;

    fn get_resource(
        &mut self,
        _: BufferBinding,
        _: StreamId,
    ) -> Result<ManagedResource<()>, ServerError> {
        unreachable!("a recorder has no memory to read")
    }
}
