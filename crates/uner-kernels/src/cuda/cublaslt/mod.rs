//! Matrix products with NVIDIA's cuBLASLt, opened at run time: `out = a · b` and
//! `out = old + a · b`, accumulated in f32.
//!
//! For each new class of shapes, [`tune`] runs the library's first few algorithms. The fastest is
//! used by this process and later ones ([`remembered`]).

mod library;
mod remembered;
mod shape;
mod tune;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::TensorMetadata;
use cubecl::device::DeviceId;
use cubecl::server::{Handle, ServerError};

use self::library::{Addresses, Algorithm, Description, Library};
use self::remembered::Remembered;
use self::shape::Shape;
use super::stream::{self, Buffers, Call};
use crate::cube::Floats;
use crate::device::cuda::has_cublaslt;

/// Shapes whose descriptions are cached. Numbers of tokens are not known beforehand.
const SHAPES: usize = 4096;

/// How a product is computed.
#[derive(Debug)]
struct Product {
    description: Description,
    algorithm: Algorithm,
}

/// The tensors of a product.
#[derive(Clone, Copy)]
struct Operands<'a> {
    a: &'a Floats,
    b: &'a Floats,
    old: Option<&'a Floats>,
    out: &'a Floats,
}

/// The library and its products on one device.
#[derive(Debug)]
struct Products {
    library: Library,
    remembered: Mutex<Remembered>,
    known: Mutex<HashMap<Shape, Arc<Product>>>,
}

/// Whether the library computes products of this tensor: it is on CUDA, and the library is
/// installed.
pub(crate) fn serves(tensor: &Floats) -> bool {
    stream::is_cuda(&tensor.client) && has_cublaslt()
}

/// Computes `out = a · b`, or `out = old + a · b`, where `old` may be `out`. The factors have one
/// type and are row-major or column-major. `old` and `out` are contiguous, of the factors' type or
/// f32. No operand is empty.
///
/// # Panics
/// When the library has no algorithm for the shape. An error on the device appears when `out` is
/// read.
pub(crate) fn multiply(a: &Floats, b: &Floats, old: Option<&Floats>, out: &Floats) {
    let (shape, operands) = (Shape::of(a, b, old, out), Operands { a, b, old, out });
    let refused =
        |error: ServerError| -> ! { panic!("cuBLASLt cannot compute {shape}: {}", reason(error)) };
    let products = products(out).unwrap_or_else(|error| refused(error));
    let product = products.product(&shape, operands).unwrap_or_else(|error| refused(error));
    let buffers = operands.buffers(&out.handle, scratch(out, product.algorithm.workspace));
    let library = products.library;
    stream::submit(&out.client, buffers, move |call| {
        let Product { description, algorithm } = &*product;
        let started =
            library.multiply(description, algorithm, addresses(call, shape.adds), call.stream);
        started.map_err(|error| format!("the product {shape} failed: {error}"))
    });
}

impl Products {
    fn product(&self, shape: &Shape, operands: Operands) -> Result<Arc<Product>, ServerError> {
        let known = lock(&self.known).get(shape).cloned();
        if let Some(product) = known {
            return Ok(product);
        }
        let product = Arc::new(self.learn(shape, operands)?);
        let mut known = lock(&self.known);
        if known.len() == SHAPES {
            known.clear();
        }
        // If several threads searched at the same time, all use the first result.
        Ok(known.entry(*shape).or_insert(product).clone())
    }

    /// Describes a shape and chooses its algorithm: that of another shape of its class, or the
    /// fastest of the library's first few.
    fn learn(&self, shape: &Shape, operands: Operands) -> Result<Product, ServerError> {
        let (library, known) = (self.library, lock(&self.remembered).get(shape));
        let (description, candidates) =
            stream::call(&operands.out.client, Buffers::default(), |_| {
                let description = Description::of(shape)?;
                let known = known.and_then(|code| library.check(&description, code));
                let candidates = match known {
                    Some(algorithm) => vec![algorithm],
                    None => library.candidates(shape, &description)?,
                };
                Ok((description, candidates))
            })?;
        let algorithm = match candidates[..] {
            [] => return Err(stream::failure("the library has no algorithm".to_owned())),
            [algorithm] => algorithm,
            _ => self.fastest(shape, &description, &candidates, operands)?,
        };
        Ok(Product { description, algorithm })
    }

    fn fastest(
        &self,
        shape: &Shape,
        description: &Description,
        candidates: &[Algorithm],
        operands: Operands,
    ) -> Result<Algorithm, ServerError> {
        let (library, out) = (self.library, operands.out);
        // Trials do not write to the tensor that the product is added to, because it may grow only
        // once.
        let grows = operands.old.is_some_and(|old| std::ptr::eq(old, out));
        let elsewhere =
            grows.then(|| out.client.empty(out.shape().num_elements() * out.dtype().size()));
        let most = candidates.iter().map(|algorithm| algorithm.workspace).max().unwrap_or(0);
        let target = elsewhere.as_ref().unwrap_or(&out.handle);
        let buffers = operands.buffers(target, scratch(out, most));
        let algorithm = stream::call(&out.client, buffers, |call| {
            tune::fastest(
                library,
                description,
                candidates,
                addresses(call, shape.adds),
                call.stream,
            )
        })?;
        // Another thread may have searched at the same time: the stored result is the one to use.
        let code = lock(&self.remembered).add(shape, algorithm.code);
        Ok(candidates.iter().find(|candidate| candidate.code == code).copied().unwrap_or(algorithm))
    }
}

/// The products on the device of a tensor.
fn products(tensor: &Floats) -> Result<Arc<Products>, ServerError> {
    static DEVICES: Mutex<Option<HashMap<DeviceId, Arc<Products>>>> = Mutex::new(None);
    let client = &tensor.client;
    let mut devices = lock(&DEVICES);
    let devices = devices.get_or_insert_default();
    let id = client.service_id().device;
    if let Some(products) = devices.get(&id) {
        return Ok(products.clone());
    }
    let library = stream::call(client, Buffers::default(), |_| Library::open())?;
    let remembered = Mutex::new(Remembered::read(&client.properties().identity.name));
    let products = Arc::new(Products { library, remembered, known: Mutex::default() });
    devices.insert(id, products.clone());
    Ok(products)
}

/// Scratch memory for an algorithm, from the device's own allocator.
fn scratch(out: &Floats, bytes: usize) -> Option<Handle> {
    (bytes > 0).then(|| out.client.empty(bytes))
}

impl Operands<'_> {
    fn buffers(self, target: &Handle, workspace: Option<Handle>) -> Buffers {
        let read = [Some(self.a), Some(self.b), self.old].into_iter().flatten();
        let read = read.map(|operand| operand.handle.clone()).collect();
        Buffers { read, written: std::iter::once(target.clone()).chain(workspace).collect() }
    }
}

/// Reads the addresses, in the order of [`Operands::buffers`].
fn addresses(call: &Call, adds: bool) -> Addresses {
    let given = &call.addresses;
    let result = if adds { 3 } else { 2 };
    Addresses {
        a: given[0],
        b: given[1],
        // That of `old`, or else the result's.
        old: given[2],
        result: given[result],
        workspace: given.get(result + 1).copied().unwrap_or(0),
    }
}

fn reason(error: ServerError) -> String {
    match error {
        ServerError::Generic { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// A value is consistent even after a thread has panicked: each change is a single insertion.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
