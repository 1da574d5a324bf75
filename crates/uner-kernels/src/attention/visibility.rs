//! Visibility of tokens: one rule for causal attention, packing and prefix sharing.

use std::collections::BTreeSet;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// Document of a padding token, which sees nothing and is seen by nothing.
pub const PADDING: i32 = -1;

/// Token *j* is visible to token *i* when `j <= i`, `document[j] == document[i]` (and is not
/// [`PADDING`]), and `branch[j] == 0 || branch[j] == branch[i]`.
///
/// The tokens of a document are contiguous: no other document and no padding lies between them. The
/// keys that a token sees therefore begin where its document begins.
///
/// One document and one branch is plain causal attention; a packed row is many documents; a passage
/// followed by independent questions is branch 0 followed by branches 1..n.
///
/// # Shapes
/// Both tensors are `[rows, keys]`. The queries of a call are the last `queries` tokens of the
/// `keys`, which is how a KV cache is read: `queries < keys` while decoding, `queries == keys`
/// otherwise.
#[derive(Debug, Clone)]
pub struct Visibility {
    document: Tensor<2, Int>,
    branch: Tensor<2, Int>,
}

impl Visibility {
    /// Puts every token in branch 0; `document` is the document of each token, row by row.
    ///
    /// # Panics
    /// See [`Visibility::branched`].
    pub fn packed(document: &[i32], rows: usize, device: &Device) -> Self {
        Self::branched(document, &vec![0; document.len()], rows, device)
    }

    /// Takes the document and the branch of each token, row by row.
    ///
    /// # Panics
    /// When the two slices are not `rows` rows of equal length, or the tokens of a document are not
    /// contiguous.
    pub fn branched(document: &[i32], branch: &[i32], rows: usize, device: &Device) -> Self {
        assert_eq!(document.len(), branch.len(), "`document` and `branch` differ in length");
        assert_eq!(document.len() % rows, 0, "{} tokens are not {rows} equal rows", document.len());
        let shape = [rows, document.len() / rows];
        document.chunks_exact(shape[1].max(1)).for_each(assert_together);
        let tensor = |values: &[i32]| {
            Tensor::<2, Int>::from_data(TensorData::new(values.to_vec(), shape), &device.clone())
        };
        Self { document: tensor(document), branch: tensor(branch) }
    }

    /// One document, one branch per row: plain causal attention.
    pub fn causal(rows: usize, keys: usize, device: &Device) -> Self {
        Self::packed(&vec![0; rows * keys], rows, device)
    }

    /// Document of each key, `[rows, keys]`.
    pub fn document(&self) -> &Tensor<2, Int> {
        &self.document
    }

    /// Branch of each key, `[rows, keys]`.
    pub fn branch(&self) -> &Tensor<2, Int> {
        &self.branch
    }

    /// The rule as a mask: `[rows, queries, keys]`, true if the query sees the key.
    ///
    /// # Panics
    /// When there are more queries than keys.
    pub fn mask(&self, queries: usize) -> Tensor<3, Bool> {
        let [rows, keys] = self.document.dims();
        assert!(queries <= keys, "{queries} queries but only {keys} keys");
        let device = self.document.device();
        let first = keys - queries;
        let column = |tensor: &Tensor<2, Int>| {
            tensor
                .clone()
                .narrow(1, first, queries)
                .reshape([rows, queries, 1])
                .expand([rows, queries, keys])
        };
        let row = |tensor: &Tensor<2, Int>| {
            tensor.clone().reshape([rows, 1, keys]).expand([rows, queries, keys])
        };
        let query_idx = Tensor::<1, Int>::arange(first as i64..keys as i64, &device)
            .reshape([1, queries, 1])
            .expand([rows, queries, keys]);
        let key_idx = Tensor::<1, Int>::arange(0..keys as i64, &device)
            .reshape([1, 1, keys])
            .expand([rows, queries, keys]);
        let same_branch =
            row(&self.branch).equal_elem(0).bool_or(row(&self.branch).equal(column(&self.branch)));
        let same_document = row(&self.document).equal(column(&self.document));
        let real = row(&self.document).not_equal_elem(PADDING);
        key_idx.lower_equal(query_idx).bool_and(same_document).bool_and(same_branch).bool_and(real)
    }
}

fn assert_together(row: &[i32]) {
    let mut seen = BTreeSet::new();
    for run in row.chunk_by(|a, b| a == b).filter(|run| run[0] != PADDING) {
        assert!(
            seen.insert(run[0]),
            "the tokens of document `{}` are not contiguous in their row",
            run[0]
        );
    }
}
