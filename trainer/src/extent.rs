//! Some of a tensor's numbers, in row order -> boxes of it.
//!
//! A rank holds a box of a parameter, often all of it, and keeps some stretch of the box's numbers in row order. In a file
//! that is written as boxes, which every other layout can cut again: the rest of a row that it begins in, whole rows, and
//! the start of the row that it ends in.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A box of a tensor: where it begins, and how large it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Its first corner.
    pub offset: Vec<i64>,
    /// Its sizes.
    pub size: Vec<i64>,
}

impl Extent {
    /// The whole of a tensor.
    pub fn whole(shape: &[i64]) -> Self {
        Self { offset: vec![0; shape.len()], size: shape.to_vec() }
    }

    /// How many numbers it has.
    pub fn numel(&self) -> i64 {
        self.size.iter().product()
    }

    /// This box of a whole tensor, as a view.
    pub fn of(&self, whole: &Tensor) -> Tensor {
        let dims = (0_i64..).zip(self.offset.iter().zip(&self.size));
        dims.fold(whole.shallow_clone(), |view, (dim, (&offset, &size))| {
            view.narrow(dim, offset, size)
        })
    }

    /// The boxes of a stretch of its numbers, in its row order; see [`extents`].
    pub fn stretch(&self, numbers: Range<i64>) -> Vec<Self> {
        let mut boxes = extents(&self.size, numbers);
        for found in &mut boxes {
            found.offset.iter_mut().zip(&self.offset).for_each(|(at, offset)| *at += offset);
        }
        boxes
    }

    /// What it is called in a file: the tensor's name, and the range of each dimension where it is not the whole.
    pub fn key(&self, name: &str, shape: &[i64]) -> String {
        if *self == Self::whole(shape) {
            return name.to_string();
        }
        let ranges = self.offset.iter().zip(&self.size);
        let ranges: Vec<String> =
            ranges.map(|(offset, size)| format!("{offset}:{}", offset + size)).collect();
        format!("{name}[{}]", ranges.join(","))
    }
}

/// The boxes of a stretch of a tensor's numbers in row order; they follow one another in it. At most three for a matrix.
pub fn extents(shape: &[i64], numbers: Range<i64>) -> Vec<Extent> {
    let rows = |offset: Vec<i64>, size: Vec<i64>| Extent { offset, size };
    let Range { start, end } = numbers;
    if start >= end {
        return Vec::new();
    }
    let &[n_rows, width] = shape else { return vec![rows(vec![start], vec![end - start])] };
    if start == 0 && end == n_rows * width {
        return vec![Extent::whole(shape)];
    }
    let mut boxes = Vec::new();
    let mut at = start;
    while at < end {
        let (row, column) = (at / width, at % width);
        let whole_rows = (end - at) / width;
        let (size, n) = if column == 0 && whole_rows > 0 {
            (vec![whole_rows, width], whole_rows * width)
        } else {
            let n = (width - column).min(end - at);
            (vec![1, n], n)
        };
        boxes.push(rows(vec![row, column], size));
        at += n;
    }
    boxes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: &[i64], numbers: Range<i64>, expected: &[&str]) {
        let boxes = extents(shape, numbers.clone());
        let keys: Vec<String> = boxes.iter().map(|it| it.key("w", shape)).collect();
        assert_eq!(keys, expected, "{numbers:?} of {shape:?}");
        assert_eq!(boxes.iter().map(Extent::numel).sum::<i64>(), numbers.end - numbers.start);
    }

    #[test]
    fn a_stretch_of_a_matrix_is_at_most_three_boxes() {
        check(&[4, 5], 0..20, &["w"]);
        check(&[4, 5], 7..17, &["w[1:2,2:5]", "w[2:3,0:5]", "w[3:4,0:2]"]);
        check(&[4, 5], 5..15, &["w[1:3,0:5]"]);
        check(&[4, 5], 6..9, &["w[1:2,1:4]"]);
        check(&[4, 5], 8..11, &["w[1:2,3:5]", "w[2:3,0:1]"]);
        check(&[4, 5], 3..3, &[]);
    }

    #[test]
    fn a_stretch_of_a_box_lies_where_the_box_does() {
        // Columns 2 to 4 of the last three rows of four.
        let held = Extent { offset: vec![1, 2], size: vec![3, 2] };
        let boxes: Vec<String> = held.stretch(1..6).iter().map(|it| it.key("w", &[4, 5])).collect();
        assert_eq!(boxes, ["w[1:2,3:4]", "w[2:4,2:4]"]);
        let whole = Tensor::arange(20, (tch::Kind::Int64, tch::Device::Cpu)).view([4, 5]);
        let found = Vec::<i64>::try_from(held.of(&whole).contiguous().view(-1)).unwrap();
        assert_eq!(found, [7, 8, 12, 13, 17, 18]);
    }

    #[test]
    fn a_stretch_of_a_vector_is_one() {
        check(&[7], 0..7, &["w[0:7]"].map(|_| "w"));
        check(&[7], 2..5, &["w[2:5]"]);
    }
}
