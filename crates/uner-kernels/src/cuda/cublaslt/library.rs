//! The library on one device: its handle, and its algorithms for a shape.

use std::ffi::c_void;

use burn::tensor::DType;
use cudarc::cublaslt::result::{
    create_handle, create_matmul_desc, create_matmul_pref, create_matrix_layout,
    destroy_matmul_desc, destroy_matmul_pref, destroy_matrix_layout, matmul,
    set_matmul_desc_attribute, set_matmul_pref_attribute,
};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t, cublasLtHandle_t, cublasLtMatmulAlgo_t, cublasLtMatmulDesc_t,
    cublasLtMatmulDescAttributes_t as Attribute, cublasLtMatmulHeuristicResult_t,
    cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t as Preference,
    cublasLtMatrixLayout_t, cudaDataType,
};
use cudarc::driver::sys::CUstream;

use super::shape::{Layout, Shape};

/// Largest scratch memory of an algorithm, in bytes: NVIDIA's advice for Hopper.
const WORKSPACE: u64 = 32 << 20;
/// Partial sums (split-K) are added in f32, never in the type of the result.
const REDUCTION: u32 =
    sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
/// Number of algorithms requested, the library's favourite first.
const CANDIDATES: usize = 8;

/// A handle of the library.
#[derive(Debug, Clone, Copy)]
pub(super) struct Library(cublasLtHandle_t);

/// An algorithm for a product, and its scratch memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Algorithm {
    pub(super) code: cublasLtMatmulAlgo_t,
    pub(super) workspace: usize,
}

/// A shape in the library's terms. The library is column-major, so it computes the transposed
/// product `bᵀ · aᵀ`.
#[derive(Debug)]
pub(super) struct Description {
    operation: cublasLtMatmulDesc_t,
    a: cublasLtMatrixLayout_t,
    b: cublasLtMatrixLayout_t,
    result: cublasLtMatrixLayout_t,
    adds: bool,
}

/// Device addresses of a product's operands. `old` is the tensor that the product is added to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) a: u64,
    pub(super) b: u64,
    pub(super) old: u64,
    pub(super) result: u64,
    pub(super) workspace: u64,
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: created by `of`, and not used again.
        #[expect(unsafe_code, reason = "calls of the library's C interface")]
        unsafe {
            let _ = destroy_matmul_desc(self.operation);
            for layout in [self.a, self.b, self.result] {
                let _ = destroy_matrix_layout(layout);
            }
        }
    }
}

// SAFETY: the library's documentation allows several threads to use a handle, and nothing writes to
// a description after its creation.
#[expect(unsafe_code, reason = "pointers to objects of the library")]
unsafe impl Send for Library {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "pointers to objects of the library")]
unsafe impl Sync for Library {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "pointers to objects of the library")]
unsafe impl Send for Description {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "pointers to objects of the library")]
unsafe impl Sync for Description {}

impl Library {
    /// Opens the library on the device whose context this thread has.
    pub(super) fn open() -> Result<Self, String> {
        create_handle().map(Self).map_err(|error| format!("cuBLASLt does not start: {error}"))
    }

    /// Finds the algorithms for a shape, the library's favourite first.
    pub(super) fn candidates(
        self,
        shape: &Shape,
        description: &Description,
    ) -> Result<Vec<Algorithm>, String> {
        let preference = preference(shape)?;
        let mut found = Vec::with_capacity(CANDIDATES);
        let mut count = 0;
        let Description { operation, a, b, result, .. } = *description;
        // SAFETY: the objects are alive; `found` has room for `CANDIDATES` entries, and its length
        // is set below.
        #[expect(unsafe_code, reason = "calls of the library's C interface")]
        let status = unsafe {
            let found: *mut cublasLtMatmulHeuristicResult_t = found.as_mut_ptr();
            let max_results = CANDIDATES as i32;
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.0,
                operation,
                b,
                a,
                result,
                result,
                preference,
                max_results,
                found,
                &raw mut count,
            )
        };
        // SAFETY: created above, and not used again.
        #[expect(unsafe_code, reason = "a call of the library's C interface")]
        let released = unsafe { destroy_matmul_pref(preference) };
        status
            .result()
            .and(released)
            .map_err(|error| format!("cuBLASLt has no algorithm for {shape}: {error}"))?;
        // SAFETY: the library wrote `count` entries.
        #[expect(unsafe_code, reason = "the library fills a buffer")]
        unsafe {
            found.set_len(count as usize);
        }
        let usable = found
            .into_iter()
            .filter(|entry: &cublasLtMatmulHeuristicResult_t| entry.state.result().is_ok());
        Ok(usable
            .map(|entry| Algorithm { code: entry.algo, workspace: entry.workspaceSize })
            .collect())
    }

    /// Returns the same algorithm if the library still supports it for this shape.
    pub(super) fn check(
        self,
        description: &Description,
        code: cublasLtMatmulAlgo_t,
    ) -> Option<Algorithm> {
        let Description { operation, a, b, result, .. } = *description;
        let mut found = std::mem::MaybeUninit::<cublasLtMatmulHeuristicResult_t>::zeroed();
        // SAFETY: the objects are alive, and the library writes one entry.
        #[expect(unsafe_code, reason = "a call of the library's C interface")]
        let found = unsafe {
            let status = sys::cublasLtMatmulAlgoCheck(
                self.0,
                operation,
                b,
                a,
                result,
                result,
                &raw const code,
                found.as_mut_ptr(),
            );
            status.result().ok()?;
            found.assume_init()
        };
        let fits = found.state.result().is_ok() && found.workspaceSize as u64 <= WORKSPACE;
        fits.then_some(Algorithm { code, workspace: found.workspaceSize })
    }

    /// Starts a product on a stream.
    pub(super) fn multiply(
        self,
        description: &Description,
        algorithm: &Algorithm,
        at: Addresses,
        stream: CUstream,
    ) -> Result<(), String> {
        let Description { operation, a, b, result, adds } = *description;
        let (one, old) = (1.0f32, if adds { 1.0f32 } else { 0.0 });
        let constant = |address: u64| address as *const c_void;
        // SAFETY: the objects are alive; the caller's buffers hold operands of this shape.
        #[expect(unsafe_code, reason = "a call of the library's C interface")]
        let status = unsafe {
            matmul(
                self.0,
                operation,
                (&raw const one).cast(),
                (&raw const old).cast(),
                constant(at.b),
                b,
                constant(at.a),
                a,
                constant(at.old),
                result,
                at.result as *mut c_void,
                result,
                &raw const algorithm.code,
                at.workspace as *mut c_void,
                algorithm.workspace,
                stream.cast(),
            )
        };
        status.map_err(|error| error.to_string())
    }
}

impl Description {
    /// # Errors
    /// When the library refuses a layout.
    pub(super) fn of(shape: &Shape) -> Result<Self, String> {
        let refused = |error| format!("cuBLASLt refuses {shape}: {error}");
        let Shape { rows, columns, terms, .. } = *shape;
        let factor = |layout: &Layout, rows: usize, columns: usize| {
            let (down, across) = if layout.in_columns { (rows, columns) } else { (columns, rows) };
            let kind = kind(shape.factors);
            create_matrix_layout(kind, down as u64, across as u64, layout.stride as i64)
        };
        let a = factor(&shape.a, rows, terms).map_err(refused)?;
        let b = factor(&shape.b, terms, columns).map_err(refused)?;
        let result =
            create_matrix_layout(kind(shape.result), columns as u64, rows as u64, columns as i64);
        let result = result.map_err(refused)?;
        // Accumulates in f32; f32 factors are not rounded to TF32.
        let operation =
            create_matmul_desc(cublasComputeType_t::CUBLAS_COMPUTE_32F, cudaDataType::CUDA_R_32F);
        let operation = operation.map_err(refused)?;
        for (attribute, layout) in [
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSA, shape.b),
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSB, shape.a),
        ] {
            let transposed = i32::from(layout.in_columns);
            // SAFETY: the description was created above; the attribute is four bytes.
            #[expect(unsafe_code, reason = "a call of the library's C interface")]
            let status = unsafe {
                set_matmul_desc_attribute(
                    operation,
                    attribute,
                    (&raw const transposed).cast(),
                    size_of::<i32>(),
                )
            };
            status.map_err(refused)?;
        }
        Ok(Self { operation, a, b, result, adds: shape.adds })
    }
}

/// The criteria for algorithms: little scratch memory, sums in f32, and no more alignment than the
/// operands have.
fn preference(shape: &Shape) -> Result<cublasLtMatmulPreference_t, String> {
    let preference = create_matmul_pref().map_err(|error| error.to_string())?;
    let numbers = [
        (Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, REDUCTION),
        (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.b.alignment as u32),
        (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.a.alignment as u32),
        (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.alignment as u32),
        (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.alignment as u32),
    ];
    let set = |attribute, value: *const c_void, size| {
        // SAFETY: created above, not destroyed yet; `value` points to `size` bytes.
        #[expect(unsafe_code, reason = "a call of the library's C interface")]
        let status = unsafe { set_matmul_pref_attribute(preference, attribute, value, size) };
        status.map_err(|error| error.to_string())
    };
    let (workspace, most) = (Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, WORKSPACE);
    set(workspace, (&raw const most).cast(), size_of::<u64>())?;
    for (attribute, number) in numbers {
        set(attribute, (&raw const number).cast(), size_of::<u32>())?;
    }
    Ok(preference)
}

fn kind(dtype: DType) -> cudaDataType {
    match dtype {
        DType::F32 => cudaDataType::CUDA_R_32F,
        DType::BF16 => cudaDataType::CUDA_R_16BF,
        other => panic!("cuBLASLt multiplies f32 and bf16, not {other:?}"),
    }
}
