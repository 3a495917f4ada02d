//! Tensors over borrowed memory: what they show, how long the owner lives, and what is refused.

use std::sync::Arc;

use tch::{Kind, Tensor};
use torch_ext::blob::from_blob;

/// Sixteen bytes that start where an f64 may.
#[repr(align(8))]
struct Bytes([u8; 16]);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The two fp32 numbers 1.5 and -2, then eight other bytes.
fn bytes() -> Arc<Bytes> {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&1.5f32.to_le_bytes());
    bytes[4..8].copy_from_slice(&(-2f32).to_le_bytes());
    Arc::new(Bytes(bytes))
}

#[expect(unsafe_code, reason = "the tests write to no such tensor")]
fn view(
    owner: &Arc<Bytes>,
    range: std::ops::Range<usize>,
    kind: Kind,
    size: &[i64],
) -> torch_ext::Result<Tensor> {
    // SAFETY: nothing here writes to the tensor.
    unsafe { from_blob(Arc::clone(owner), range, kind, size) }
}

#[test]
fn shows_the_bytes_without_a_copy() {
    let owner = bytes();
    let tensor = view(&owner, 0..8, Kind::Float, &[2, 1]).expect("eight bytes are two fp32");
    assert_eq!(tensor.size(), [2, 1]);
    assert_eq!(Vec::<f32>::try_from(tensor.flatten(0, -1)).expect("fp32"), [1.5, -2.0]);
    assert_eq!(tensor.data_ptr().cast_const().cast(), owner.0.as_ptr());
}

#[test]
fn the_owner_goes_with_the_last_view() {
    let owner = bytes();
    let tensor = view(&owner, 0..8, Kind::Float, &[2]).expect("eight bytes are two fp32");
    let last = tensor.narrow(0, 1, 1);
    drop(tensor);
    assert_eq!(Arc::strong_count(&owner), 2);
    assert_eq!(last.double_value(&[0]), -2.0);
    drop(last);
    assert_eq!(Arc::strong_count(&owner), 1);
}

#[test]
fn a_mapped_file_is_an_owner() {
    #[expect(unsafe_code, reason = "maps a file that nobody changes")]
    fn map(file: &fs_err::File) -> memmap2::Mmap {
        // SAFETY: the file is this test's own.
        unsafe { memmap2::Mmap::map(file) }.expect("a file can be mapped")
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("numbers");
    fs_err::write(&path, bytes().0).expect("a file");
    let owner = Arc::new(map(&fs_err::File::open(&path).expect("it was just written")));
    #[expect(unsafe_code, reason = "writes to no such tensor")]
    // SAFETY: nothing here writes to the tensor.
    let tensor = unsafe { from_blob(owner, 0..8, Kind::Float, &[2]) }.expect("two fp32");
    assert_eq!(tensor.double_value(&[1]), -2.0);
}

#[test]
fn what_does_not_fit_is_refused_and_the_owner_given_back() {
    let owner = bytes();
    let check = |range, kind, size: &[i64], expected: &str| {
        let error = view(&owner, range, kind, size).expect_err(expected);
        assert_eq!(error.to_string(), expected);
        assert_eq!(Arc::strong_count(&owner), 1);
    };
    check(8..24, Kind::Float, &[4], "bytes 8..24 of a memory of 16 bytes");
    check(0..8, Kind::Float, &[3], "8 bytes do not make a Float tensor of [3]");
    check(0..8, Kind::Float, &[-2, -1], "8 bytes do not make a Float tensor of [-2, -1]");
    check(
        0..8,
        Kind::Float,
        &[i64::MAX, 8],
        "8 bytes do not make a Float tensor of [9223372036854775807, 8]",
    );
    check(2..10, Kind::Float, &[2], "a Float tensor cannot start at byte 2: not aligned");
    check(0..8, Kind::QInt8, &[8], "no tensor of QInt8 over bytes");
}
