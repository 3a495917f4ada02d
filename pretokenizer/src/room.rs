//! Whether the disk of the output has room for it.
//!
//! How many tokens a text has is known when it is encoded; here it is taken to be a quarter of its bytes, which is about
//! right for English and code, and less than most languages need.

use std::path::Path;

use anyhow::Context as _;
use indicatif::BinaryBytes;

use crate::config::Datamix;
use crate::pipeline::Limits;
use crate::prepare::Planned;
use crate::target;

/// Bytes of text for a token.
const BYTES_A_TOKEN: u64 = 4;

/// What a build needs of the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    /// For what it writes.
    output: u64,
    /// For the temporary file beside it.
    scratch: u64,
}

/// What is said of a disk that is too small; `None` if it has room, or if nobody knows.
pub(crate) fn problem(
    datamix: &Datamix,
    planned: &Planned,
    vocab_size: u32,
    limits: Limits,
    target: &Path,
) -> anyhow::Result<Option<String>> {
    let mut bytes = 0;
    for (plan, share) in planned.plans.iter().zip(&planned.shares) {
        for (part, here) in plan.stretches(share.clone()) {
            let loaded = &planned.datasets[part.dataset].loaded;
            // Documents are taken to be equally long.
            bytes += loaded.n_bytes * here.len() as u64 / (loaded.len() as u64).max(1);
        }
    }
    let read: u64 = planned.datasets.iter().map(|it| it.loaded.n_bytes).sum();
    let need = Need::of(bytes, read, vocab_size, datamix.write_json, limits);
    let folder = target::existing(target.parent().unwrap_or(Path::new(".")));
    let disk = rustix::fs::statvfs(folder).with_context(|| {
        format!("cannot ask for the room on the disk of `{}`", folder.display())
    })?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // Some file systems do not count.
    Ok((disk.f_blocks > 0).then(|| need.problem(free, &datamix.output_dir)).flatten())
}

impl Need {
    /// Of a build that writes so many bytes of text, of those that it reads.
    fn of(text: u64, read: u64, vocab_size: u32, write_json: bool, limits: Limits) -> Self {
        // Tokens of the reference's width, and the role of each, which takes two bytes.
        let width = if vocab_size < 65_500 { 2 } else { 4 };
        let shards = text / BYTES_A_TOKEN * (width + 2);
        // What does not stay in memory: all samples, and their tokens in two thirds of that.
        let samples = read.saturating_sub(limits.store as u64);
        let encoded = (text / 3 * 2).saturating_sub(limits.buckets as u64);
        Self { output: shards + if write_json { text } else { 0 }, scratch: samples + encoded }
    }

    fn problem(self, free: u64, output_dir: &str) -> Option<String> {
        (free < self.output + self.scratch).then(|| {
            format!(
                "`output_dir: {output_dir}`: its disk has {} of room, and the build needs about {} for what it writes and {} for a temporary file\n\
                 hint: free space there, or give another `--output_dir`",
                BinaryBytes(free),
                BinaryBytes(self.output),
                BinaryBytes(self.scratch)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_told_with_what_is_needed() {
        let limits = Limits { store: 10 << 20, buckets: 10 << 20, bucket: 1 << 20 };
        let mib = 1 << 20;
        let need = Need::of(30 * mib, 40 * mib, 32_007, true, limits);
        // Half as many bytes of tokens and of roles as of text, and the text itself.
        assert_eq!(need, Need { output: 60 * mib, scratch: 40 * mib });
        assert_eq!(need.problem(100 * mib, "out"), None);
        expect![[r#"
            `output_dir: out`: its disk has 99.00 MiB of room, and the build needs about 60.00 MiB for what it writes and 40.00 MiB for a temporary file
            hint: free space there, or give another `--output_dir`"#]]
        .assert_eq(&need.problem(99 * mib, "out").unwrap_or_default());
        // A vocabulary of more than 16 bits; all of the text stays in memory.
        let need = Need::of(8 * mib, 8 * mib, 128_256, false, limits);
        assert_eq!(need, Need { output: 12 * mib, scratch: 0 });
    }
}
