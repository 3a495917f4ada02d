//! Buffers that training goes on with -> what they held at one moment, for a writer on another thread.
//!
//! A copy of all masters and moments would need their memory a second time; to wait until they are written would need
//! all the time. Neither is necessary: they change in the optimizer's update only, and through the long passes before it
//! a writer can read the buffers themselves. When the update comes, it [takes them back](Lent::take_back): what is
//! written is free; of the rest it copies what there is room for, beginning with what the writer comes to last; and it
//! waits for what is left then.
//!
//! The grain is a unit of the model. A writer sees the numbers of the moment at which the snapshot was taken, to the
//! bit, and no more is ever copied than there is room for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tch::{Device, Tensor};

/// A unit's master and both moments.
pub type Buffers = [Tensor; 3];

/// The writer's end.
#[derive(Debug)]
pub struct Snapshot(Arc<Shared>);

/// The end of what changes the buffers.
#[derive(Debug)]
pub struct Lent(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    units: Vec<Unit>,
    /// How many bytes may still be copied.
    room: u64,
    /// How long updates were held up, but for the one that is now.
    held_up: Duration,
    held_up_since: Option<Instant>,
}

#[derive(Debug)]
enum Unit {
    /// To be read where it lies.
    InPlace(Buffers),
    /// Being read where it lies.
    Reading,
    /// Being copied.
    Copying,
    /// Out of the way of updates: to be read from the copy.
    Copied(Buffers),
    /// Read, or being read from a copy.
    Free,
}

/// Lends buffers, a unit each; `room` is how many bytes of them may be copied at a time.
pub fn lend(units: Vec<Buffers>, room: u64) -> (Snapshot, Lent) {
    let units = units.into_iter().map(Unit::InPlace).collect();
    let state = Mutex::new(State { units, room, held_up: Duration::ZERO, held_up_since: None });
    let shared = Arc::new(Shared { state, changed: Condvar::new() });
    (Snapshot(Arc::clone(&shared)), Lent(shared))
}

impl Snapshot {
    /// Gives a unit's buffers as they were when the snapshot was taken. Each unit is read once.
    pub fn read(&self, unit: usize, reader: impl FnOnce(&Buffers) -> Result<()>) -> Result<()> {
        let mut state = self.0.lock();
        let (buffers, copied) = loop {
            match std::mem::replace(&mut state.units[unit], Unit::Free) {
                Unit::InPlace(buffers) => {
                    state.units[unit] = Unit::Reading;
                    break (buffers, 0);
                }
                Unit::Copied(buffers) => {
                    let bytes = bytes(&buffers);
                    break (buffers, bytes);
                }
                Unit::Copying => {
                    state.units[unit] = Unit::Copying;
                    state = self.0.wait(state);
                }
                Unit::Reading | Unit::Free => panic!("unit {unit} is read twice"),
            }
        };
        drop(state);
        let result = reader(&buffers);
        drop(buffers);
        let mut state = self.0.lock();
        state.units[unit] = Unit::Free;
        state.room += copied;
        self.0.changed.notify_all();
        result
    }

    /// How long updates were held up by it until now.
    pub fn held_up(&self) -> Duration {
        let state = self.0.lock();
        state.held_up + state.held_up_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Drop for Snapshot {
    /// Whatever was not read will not be.
    fn drop(&mut self) {
        self.0.lock().units.fill_with(|| Unit::Free);
        self.0.changed.notify_all();
    }
}

impl Lent {
    /// Must be called before the buffers are written: afterwards nobody reads them any more.
    pub fn take_back(&self) {
        let started = Instant::now();
        let mut state = self.0.lock();
        state.held_up_since = Some(started);
        let in_the_way = |unit: &Unit| matches!(unit, Unit::InPlace(_) | Unit::Reading);
        while let Some(last) = state.units.iter().rposition(in_the_way) {
            let room = state.room;
            match &mut state.units[last] {
                Unit::InPlace(buffers) if bytes(buffers) <= room => {
                    let Unit::InPlace(buffers) =
                        std::mem::replace(&mut state.units[last], Unit::Copying)
                    else {
                        unreachable!("matched above")
                    };
                    state.room -= bytes(&buffers);
                    drop(state);
                    let copies = buffers.each_ref().map(copy);
                    state = self.0.lock();
                    // Unless the writer has given up meanwhile.
                    if matches!(state.units[last], Unit::Copying) {
                        state.units[last] = Unit::Copied(copies);
                    }
                    self.0.changed.notify_all();
                }
                _ => state = self.0.wait(state),
            }
        }
        state.held_up_since = None;
        state.held_up += started.elapsed();
    }
}

impl Shared {
    /// Every change of the state is whole, so that one that panicked elsewhere leaves it sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes buffers have.
pub fn bytes(buffers: &Buffers) -> u64 {
    buffers.iter().map(|it| (it.numel() * it.kind().elt_size_in_bytes()) as u64).sum()
}

fn copy(tensor: &Tensor) -> Tensor {
    if tensor.device() == Device::Cpu { tensor.copy() } else { tensor.to_device(Device::Cpu) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use tch::Kind;

    use super::*;

    const UNITS: usize = 6;
    /// Three tensors of a hundred `f32`.
    const UNIT_BYTES: u64 = 1200;

    /// Updates all buffers three times while a slow writer reads them: it sees what was there before. The first update waits
    /// until what there is no room to copy is read; where there is room for all, it waits for nothing, not for a writer
    /// that has not begun.
    fn check(room: u64) {
        let fits = usize::try_from(room / UNIT_BYTES).unwrap();
        let number = |unit: usize, kind: usize| (10 * unit + kind) as f64;
        let buffers: Vec<Buffers> = (0..UNITS)
            .map(|unit| {
                [0, 1, 2]
                    .map(|kind| Tensor::full([100], number(unit, kind), (Kind::Float, Device::Cpu)))
            })
            .collect();
        let lent = buffers.iter().map(|unit| unit.each_ref().map(Tensor::shallow_clone)).collect();
        let (snapshot, lent) = lend(lent, room);
        let n_read = Arc::new(AtomicUsize::new(0));
        let (begin, begun) = mpsc::channel();
        let counter = Arc::clone(&n_read);
        let writer = thread::spawn(move || {
            begun.recv().unwrap();
            for unit in 0..UNITS {
                let slowly = |buffers: &Buffers| {
                    for (kind, tensor) in buffers.iter().enumerate() {
                        thread::sleep(Duration::from_millis(5));
                        let expected = number(unit, kind);
                        assert_eq!(tensor.min().double_value(&[]), expected, "unit {unit}");
                        assert_eq!(tensor.max().double_value(&[]), expected, "unit {unit}");
                    }
                    Ok(())
                };
                snapshot.read(unit, slowly).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
            }
            snapshot.held_up()
        });
        let mut waited = Duration::ZERO;
        for update in 0..3 {
            if update == usize::from(fits == UNITS) {
                begin.send(()).unwrap();
            }
            let before = Instant::now();
            lent.take_back();
            waited += before.elapsed();
            if update == 0 {
                let n_read = n_read.load(Ordering::SeqCst);
                // A unit is free a moment before the writer has counted it.
                assert!(n_read + 1 + fits >= UNITS, "{n_read} with room for {fits}");
                assert!(fits < UNITS || n_read == 0);
            }
            assert!(lent.0.lock().room <= room);
            for tensor in buffers.iter().flatten() {
                let _ = tensor.shallow_clone().g_add_scalar_(1000.0);
            }
        }
        let held_up = writer.join().unwrap();
        assert!(held_up > Duration::ZERO && held_up <= waited, "{held_up:?} of {waited:?}");
        assert_eq!(lent.0.lock().room, room, "all room is given back");
    }

    #[test]
    fn a_slow_writer_sees_the_numbers_of_before_the_updates_however_little_room_there_is() {
        check(0);
        check(UNIT_BYTES);
        check(UNIT_BYTES * UNITS as u64);
    }

    #[test]
    fn a_writer_that_gives_up_holds_nobody_up() {
        let tensor = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        let (snapshot, lent) = lend(vec![[0; 3].map(|_| tensor.shallow_clone())], 0);
        let failed = thread::spawn(move || snapshot.read(0, |_| anyhow::bail!("no room left")));
        lent.take_back();
        assert!(failed.join().unwrap().is_err());
    }
}
