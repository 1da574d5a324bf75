//! Processes a stream in chunks: reads the next chunk while all cores process one.

use anyhow::Result;

/// Items in a chunk. Two chunks are in memory at a time.
const CHUNK: usize = 1_000;

/// Reads `items` chunk by chunk. `work` computes one result for each item of a chunk; `take` gets
/// items and results in order. Stops at the first error.
pub(super) fn in_chunks<T: Send + Sync, R: Send>(
    mut items: impl Iterator<Item = Result<T>> + Send,
    work: impl Fn(&[T]) -> Vec<R> + Sync,
    mut take: impl FnMut(&T, R) -> Result<()>,
) -> Result<()> {
    let mut chunk = read(&mut items)?;
    while !chunk.is_empty() {
        let (results, next) = rayon::join(|| work(&chunk), || read(&mut items));
        for (item, result) in chunk.iter().zip(results) {
            take(item, result)?;
        }
        chunk = next?;
    }
    Ok(())
}

fn read<T>(items: &mut impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    items.take(CHUNK).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_errors_come_through() {
        let mut seen = Vec::new();
        let double = |chunk: &[usize]| chunk.iter().map(|item| item * 2).collect();
        in_chunks((0..2_500).map(Ok), double, |item, result| {
            assert_eq!(item * 2, result);
            seen.push(*item);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (0..2_500).collect::<Vec<_>>());
        let failing =
            (0..1_500).map(|item| if item == 1_200 { anyhow::bail!("bad") } else { Ok(item) });
        let mut taken = 0;
        let error = in_chunks(failing, double, |_, _| {
            taken += 1;
            Ok(())
        });
        assert_eq!((error.unwrap_err().to_string(), taken), ("bad".to_owned(), 1_000));
    }
}
