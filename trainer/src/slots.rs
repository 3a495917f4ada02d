//! Units -> the buffers in which they are whole, one after the other.
//!
//! Where weights or gradients are sharded, only the units that are being worked on are whole. Their buffers are few, of a
//! fixed size, and made once.

use tch::{Device, Kind, Tensor};

/// A buffer for each unit, of so many numbers; units of one slot share their memory.
pub(crate) fn in_slots(slots: &[usize], sizes: &[i64], kind: Kind, device: Device) -> Vec<Tensor> {
    let largest = |slot: usize| {
        let units = slots.iter().zip(sizes).filter(|(it, _)| **it == slot);
        units.map(|(_, size)| *size).max().unwrap_or(0)
    };
    let n_slots = slots.iter().max().map_or(0, |last| last + 1);
    let buffer = |slot| Tensor::zeros([largest(slot)], (kind, device));
    let buffers: Vec<Tensor> = (0..n_slots).map(buffer).collect();
    slots.iter().zip(sizes).map(|(&slot, &size)| buffers[slot].narrow(0, 0, size)).collect()
}

/// Which buffer each unit uses: its own, or, where they are shared, embedding and head the first and blocks two others
/// in turn, so that a neighbour is never overwritten. What a tied head needs of the embedding is there as long as nobody
/// else uses its buffer: then the head's unit is one more in turn.
pub(crate) fn slots(n_units: usize, shared: bool, tied: bool) -> Vec<usize> {
    let slot = |unit: usize| match unit {
        _ if !shared => unit,
        0 => 0,
        unit if unit + 1 == n_units && !tied => 0,
        unit => 1 + unit % 2,
    };
    (0..n_units).map(slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_never_share_a_buffer() {
        for n_units in [3, 4, 5, 8] {
            for tied in [false, true] {
                let slots = slots(n_units, true, tied);
                assert!(slots.windows(2).all(|pair| pair[0] != pair[1]), "{slots:?}");
                assert_eq!(slots[1..].contains(&slots[0]), !tied, "{slots:?}");
            }
        }
    }
}
