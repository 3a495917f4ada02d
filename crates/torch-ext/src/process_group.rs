//! Processes that compute together: collective operations over c10d, PyTorch's own engine.
//!
//! A group is made by all its members, with the same name, at the same point of their programs; and all its operations
//! are called by all members in the same order. Every operation is asynchronous: it gives a [`Work`], which owns the
//! tensors until [`Work::wait`] gives the result back. What every rank can check before a call is checked: contiguity,
//! kind, device, sizes that fit the group, memory that another operation still uses. What only all ranks together can see,
//! sizes that differ between them, is found with [`ProcessGroup::check_calls`]; without it Gloo ends the process, and NCCL
//! waits or gives wrong numbers.
//!
//! Over Gloo, tensors are on the CPU, and to wait is to wait. Over NCCL they are on the GPU of their process, and an
//! operation takes its turn there: it begins when what was asked of the GPU before it is done, on a stream of its own, and
//! [`Work::wait`] lets what is asked afterwards begin when it is through. The program itself goes on at once. It learns of a
//! rank that is gone when it reads a number from the GPU, or rather it does not: c10d watches, writes what was waited for to
//! standard error, and ends the process after the timeout. Operations with `now` in their names, whose result is
//! needed next, go on the stream that computes.

#![expect(unsafe_code, reason = "calls the shim")]

use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::in_flight::InFlight;
use crate::nccl;
use crate::shim;
use crate::store::{Store, milliseconds};
use crate::transcript::{Entry, Transcript};

/// What a reduction does with the ranks' numbers.
///
/// There is no mean: dividing is left to the caller, who knows by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceOp {
    /// Adds them up.
    Sum,
    /// Takes the largest.
    Max,
}

impl ReduceOp {
    /// c10d's number (`RedOpType`).
    fn number(self) -> u8 {
        match self {
            Self::Sum => 0,
            Self::Max => 4,
        }
    }

    fn name(self, sum: &'static str, max: &'static str) -> &'static str {
        match self {
            Self::Sum => sum,
            Self::Max => max,
        }
    }
}

/// Some processes, of which this is one, over Gloo or NCCL.
#[derive(Debug)]
pub struct ProcessGroup {
    handle: NonNull<shim::Group>,
    name: String,
    rank: usize,
    size: usize,
    /// Where its tensors are.
    device: Device,
    transcript: Rc<Transcript>,
    sequence: Cell<u64>,
    /// Where ranks tell one another what they are about to do, if they do.
    checks: Option<Store>,
}

impl ProcessGroup {
    /// A group over Gloo, once all `size` members have called this. The name keeps the groups of a store apart.
    ///
    /// An operation that some member does not join fails after `timeout`. Gloo's address is that of the host's name, or
    /// of the interface in `GLOO_SOCKET_IFNAME`.
    pub fn gloo(
        store: &Store,
        name: &str,
        rank: usize,
        size: usize,
        timeout: Duration,
        transcript: &Rc<Transcript>,
    ) -> Result<Self> {
        let make = |store: *const shim::Store, group: *mut *mut shim::Group, error| {
            let (rank, size, timeout) = (number(rank), number(size), milliseconds(timeout));
            // SAFETY: the store and both pointers hold for the call; the group keeps what it needs of the store.
            unsafe { shim::torch_ext_group_gloo(store, rank, size, timeout, group, error) }
        };
        Self::new(store, name, [rank, size], Device::Cpu, transcript, make)
    }

    /// A group over NCCL, of processes that have a GPU each, of which this one's is `gpu`. The name keeps the groups of a
    /// store apart.
    ///
    /// The GPUs are connected by the first operation: until all members have called it, it waits, and longer than it takes on
    /// the GPU. Two ranks that send to one another are connected, apart from that, by the first of these. After
    /// `timeout` without an end of an operation c10d ends the process.
    ///
    /// Fails where there is no GPU, or where what connects them is not there: see [`nccl::load`].
    pub fn nccl(
        store: &Store,
        name: &str,
        rank: usize,
        size: usize,
        gpu: usize,
        timeout: Duration,
        transcript: &Rc<Transcript>,
    ) -> Result<Self> {
        Self::nccl_with(nccl::make_group()?, (store, name), [rank, size], gpu, timeout, transcript)
    }

    pub(crate) fn nccl_with(
        make_group: nccl::MakeGroup,
        (store, name): (&Store, &str),
        [rank, size]: [usize; 2],
        gpu: usize,
        timeout: Duration,
        transcript: &Rc<Transcript>,
    ) -> Result<Self> {
        let make = |store: *const shim::Store, group: *mut *mut shim::Group, error| {
            let (rank, size, timeout) = (number(rank), number(size), milliseconds(timeout));
            // SAFETY: the store and both pointers hold for the call; the group keeps what it needs of the store.
            unsafe { make_group(store, rank, size, number(gpu), timeout, group, error) }
        };
        Self::new(store, name, [rank, size], Device::Cuda(gpu), transcript, make)
    }

    fn new(
        store: &Store,
        name: &str,
        [rank, size]: [usize; 2],
        device: Device,
        transcript: &Rc<Transcript>,
        make: impl FnOnce(*const shim::Store, *mut *mut shim::Group, *mut *mut c_char),
    ) -> Result<Self> {
        if rank >= size {
            return Err(Error::Call(format!("no rank {rank} in a group of {size}")));
        }
        let store = store.prefixed(name)?;
        let mut handle = std::ptr::null_mut();
        shim::call(|error| make(store.handle(), &raw mut handle, error))?;
        let handle = NonNull::new(handle).expect("without an error there is a group");
        let (name, transcript) = (name.to_owned(), Rc::clone(transcript));
        let (sequence, checks) = (Cell::new(0), None);
        Ok(Self { handle, name, rank, size, device, transcript, sequence, checks })
    }

    /// From now on, each operation is compared with that of every other member before it starts, through this store,
    /// and one that differs is an error that names the rank. Slow: for tests, and to find out why a run hangs.
    ///
    /// All members must call this at the same point of their programs.
    pub fn check_calls(&mut self, store: &Store) -> Result<()> {
        self.checks = Some(store.prefixed(&format!("{}/calls", self.name))?);
        Ok(())
    }

    /// This process's place among the members.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Its name, which tells it from the others of its store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the tensors of its operations are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Every rank gets the sum, or the largest, of all ranks' numbers, in place.
    pub fn all_reduce(&self, tensor: Tensor, op: ReduceOp) -> Result<Work> {
        self.start_all_reduce(tensor, op, false)
    }

    /// The same where the result is needed next.
    pub fn all_reduce_now(&self, tensor: Tensor, op: ReduceOp) -> Result<Tensor> {
        self.start_all_reduce(tensor, op, true)?.wait()
    }

    fn start_all_reduce(&self, tensor: Tensor, op: ReduceOp, now: bool) -> Result<Work> {
        let name = op.name("all_reduce", "all_reduce_max");
        let sent = 2 * self.ring(&tensor);
        self.start(name, Some(tensor), None, sent, |group, [tensor, _], work, error| {
            // SAFETY: see `start`.
            unsafe { shim::torch_ext_all_reduce(group, tensor, op.number(), now, work, error) }
        })
    }

    /// Every rank gets its part of the sum, or the largest, of all ranks' `input`s: rank `i` the `i`-th of equal parts.
    ///
    /// `output` may be that very part of `input`, and `input`'s numbers are lost then.
    pub fn reduce_scatter(&self, output: Tensor, input: Tensor, op: ReduceOp) -> Result<Work> {
        let name = op.name("reduce_scatter", "reduce_scatter_max");
        self.check_parts(name, &output, &input)?;
        let sent = self.ring(&input);
        self.start(name, Some(output), Some(input), sent, |group, [output, input], work, error| {
            // SAFETY: see `start`.
            unsafe {
                shim::torch_ext_reduce_scatter(group, output, input, op.number(), work, error);
            }
        })
    }

    /// Every rank gets the `input`s of all, one after the other.
    ///
    /// `input` may be this rank's part of `output`.
    pub fn all_gather(&self, output: Tensor, input: Tensor) -> Result<Work> {
        self.start_all_gather(output, input, false)
    }

    /// The same where the result is needed next.
    pub fn all_gather_now(&self, output: Tensor, input: Tensor) -> Result<Tensor> {
        self.start_all_gather(output, input, true)?.wait()
    }

    fn start_all_gather(&self, output: Tensor, input: Tensor, now: bool) -> Result<Work> {
        self.check_parts("all_gather", &input, &output)?;
        let sent = self.ring(&output);
        self.start(
            "all_gather",
            Some(output),
            Some(input),
            sent,
            |group, [output, input], work, error| {
                // SAFETY: see `start`.
                unsafe { shim::torch_ext_all_gather(group, output, input, now, work, error) }
            },
        )
    }

    /// Every rank gives the `i`-th of equal parts of its `input` to rank `i`, and gets what the others have for it in
    /// the order of their ranks.
    pub fn all_to_all(&self, output: Tensor, input: Tensor) -> Result<Work> {
        self.start_all_to_all(output, input, false)
    }

    /// The same where the result is needed next.
    pub fn all_to_all_now(&self, output: Tensor, input: Tensor) -> Result<Tensor> {
        self.start_all_to_all(output, input, true)?.wait()
    }

    fn start_all_to_all(&self, output: Tensor, input: Tensor, now: bool) -> Result<Work> {
        if output.numel() != input.numel() || !input.numel().is_multiple_of(self.size) {
            return Err(Error::Call(format!(
                "all_to_all among {} ranks: {} numbers from {}",
                self.size,
                output.numel(),
                input.numel()
            )));
        }
        let sent = self.ring(&input);
        self.start(
            "all_to_all",
            Some(output),
            Some(input),
            sent,
            |group, [output, input], work, error| {
                // SAFETY: see `start`.
                unsafe { shim::torch_ext_all_to_all(group, output, input, now, work, error) }
            },
        )
    }

    /// Every rank gets the numbers of `root`, in place.
    pub fn broadcast(&self, tensor: Tensor, root: usize) -> Result<Work> {
        self.check_peer("broadcast", root)?;
        // As a ring passes it on: every rank but the last sends all of it; by that the root's share is counted.
        let sent = if self.rank == root && self.size > 1 { bytes(&tensor) } else { 0 };
        self.start("broadcast", Some(tensor), None, sent, |group, [tensor, _], work, error| {
            // SAFETY: see `start`.
            unsafe { shim::torch_ext_broadcast(group, tensor, number(root), work, error) }
        })
    }

    /// Sends a tensor to one other rank, which receives it. Only the two of them take part.
    pub fn send(&self, tensor: Tensor, to: usize) -> Result<Work> {
        self.check_other("send", to)?;
        let sent = bytes(&tensor);
        self.start("send", None, Some(tensor), sent, |group, [_, tensor], work, error| {
            // SAFETY: see `start`.
            unsafe { shim::torch_ext_send(group, tensor, number(to), work, error) }
        })
    }

    /// Receives what another rank sends, into a tensor of the same size and kind.
    pub fn recv(&self, tensor: Tensor, from: usize) -> Result<Work> {
        self.check_other("recv", from)?;
        self.start("recv", Some(tensor), None, 0, |group, [tensor, _], work, error| {
            // SAFETY: see `start`.
            unsafe { shim::torch_ext_recv(group, tensor, number(from), work, error) }
        })
    }

    /// Waits until all members have come here.
    pub fn barrier(&self) -> Result<()> {
        let work = self.start("barrier", None, None, 0, |group, _, work, error| {
            // SAFETY: see `start`.
            unsafe { shim::torch_ext_barrier(group, work, error) }
        })?;
        work.finish().map(drop)
    }

    /// Checks the tensors, notes the operation, and starts it. The pointers that `call` gets are null where there is no
    /// such tensor; they and the other pointers hold for the call, and the [`Work`] keeps the tensors until it ends.
    fn start(
        &self,
        operation: &'static str,
        written: Option<Tensor>,
        read: Option<Tensor>,
        sent: u64,
        call: impl FnOnce(
            *mut shim::Group,
            [*const torch_sys::C_tensor; 2],
            *mut *mut shim::Work,
            *mut *mut c_char,
        ),
    ) -> Result<Work> {
        for tensor in written.iter().chain(&read) {
            check(operation, tensor, self.device)?;
        }
        if let (Some(written), Some(read)) = (&written, &read)
            && written.kind() != read.kind()
        {
            return Err(Error::Call(format!(
                "{operation}: {:?} from {:?}",
                written.kind(),
                read.kind()
            )));
        }
        let tensors = || written.iter().chain(&read);
        let numel = tensors().map(Tensor::numel).max().unwrap_or(0);
        let kind = tensors().next().map_or(Kind::Uint8, Tensor::kind);
        let sequence = self.sequence.get();
        self.sequence.set(sequence + 1);
        let group = self.name.clone();
        let entry = Entry { group, sequence, operation, kind, numel, bytes: sent };
        if !matches!(operation, "send" | "recv") {
            self.compare(&entry)?;
        }
        let (reads, writes): (Vec<&Tensor>, Vec<&Tensor>) =
            (read.iter().collect(), written.iter().collect());
        let in_flight = InFlight::take(operation, &reads, &writes)?;
        self.transcript.push(entry);
        let pointer =
            |tensor: &Option<Tensor>| tensor.as_ref().map_or(std::ptr::null(), Tensor::as_ptr);
        let pointers = [pointer(&written), pointer(&read)];
        let mut work = std::ptr::null_mut();
        shim::call(|error| call(self.handle.as_ptr(), pointers, &raw mut work, error))
            .map_err(|error| self.lost(operation, error))?;
        Ok(Work {
            // What was done at once leaves no work.
            handle: NonNull::new(work),
            written,
            read,
            in_flight: Some(in_flight),
            operation,
            group: self.name.clone(),
        })
    }

    /// Tells the others what this rank is about to do, and compares it with what they are.
    fn compare(&self, entry: &Entry) -> Result<()> {
        let Some(store) = &self.checks else { return Ok(()) };
        let Entry { sequence, operation, kind, numel, .. } = entry;
        let ours = format!("{operation} of {numel} {kind:?}");
        store.set(&format!("{sequence}/{}", self.rank), ours.as_bytes())?;
        for rank in (0..self.size).filter(|rank| *rank != self.rank) {
            let theirs = store.get(&format!("{sequence}/{rank}"))?;
            if theirs != ours.as_bytes() {
                return Err(Error::Call(format!(
                    "call {sequence} in group `{}`: rank {} calls {ours}, rank {rank} {}",
                    self.name,
                    self.rank,
                    String::from_utf8_lossy(&theirs)
                )));
            }
        }
        Ok(())
    }

    fn check_parts(&self, operation: &'static str, part: &Tensor, whole: &Tensor) -> Result<()> {
        if part.numel() * self.size == whole.numel() {
            return Ok(());
        }
        Err(Error::Call(format!(
            "{operation}: {} ranks with {} numbers each do not make {}",
            self.size,
            part.numel(),
            whole.numel()
        )))
    }

    fn check_peer(&self, operation: &'static str, peer: usize) -> Result<()> {
        if peer < self.size {
            return Ok(());
        }
        Err(Error::Call(format!("{operation}: no rank {peer} in a group of {}", self.size)))
    }

    fn check_other(&self, operation: &'static str, peer: usize) -> Result<()> {
        self.check_peer(operation, peer)?;
        if peer != self.rank {
            return Ok(());
        }
        Err(Error::Call(format!("{operation}: rank {peer} is this one")))
    }

    fn lost(&self, operation: &'static str, error: Error) -> Error {
        lost(&self.name, operation, error)
    }

    /// What a rank sends of a whole tensor when it goes round a ring.
    fn ring(&self, whole: &Tensor) -> u64 {
        bytes(whole) * (self.size as u64 - 1) / self.size as u64
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and this is its last use.
        unsafe { shim::torch_ext_group_free(self.handle.as_ptr()) }
    }
}

/// An operation that was started. It must be waited for: to drop it is a mistake, which panics in a debug build, unless an
/// operation has failed before, and waits in a release build.
#[derive(Debug)]
#[must_use = "the tensors are in use until `wait`"]
pub struct Work {
    handle: Option<NonNull<shim::Work>>,
    written: Option<Tensor>,
    read: Option<Tensor>,
    in_flight: Option<InFlight>,
    operation: &'static str,
    group: String,
}

impl Work {
    /// Waits for the end, and gives back the tensor that was written, or that was sent.
    pub fn wait(self) -> Result<Tensor> {
        let tensor = self.finish()?;
        Ok(tensor.expect("what can be waited for has a tensor"))
    }

    fn finish(mut self) -> Result<Option<Tensor>> {
        self.end()?;
        Ok(self.written.take().or_else(|| self.read.take()))
    }

    fn end(&mut self) -> Result<()> {
        let Some(work) = self.handle.take() else { return Ok(()) };
        // SAFETY: the work is ours, and the shim frees it.
        let ended = shim::call(|error| unsafe { shim::torch_ext_wait(work.as_ptr(), error) });
        self.in_flight = None;
        ended.map_err(|error| lost(&self.group, self.operation, error))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.handle.is_none() {
            return;
        }
        // The tensors must not go before the operation does.
        let ended = self.end();
        let failed = ended.is_err() || FAILED.load(Ordering::Relaxed);
        debug_assert!(
            failed || std::thread::panicking(),
            "`{}` was dropped and not waited for",
            self.operation
        );
    }
}

/// Whether an operation of this process has failed: from then on, work is dropped on the way out.
static FAILED: AtomicBool = AtomicBool::new(false);

fn lost(group: &str, operation: &'static str, error: Error) -> Error {
    FAILED.store(true, Ordering::Relaxed);
    match error {
        Error::Torch(message) => Error::Lost { operation, group: group.to_owned(), message },
        other => other,
    }
}

/// What c10d does not check itself, or only by ending the process.
fn check(operation: &'static str, tensor: &Tensor, device: Device) -> Result<()> {
    if tensor.device() != device {
        return Err(Error::Call(format!(
            "{operation}: the tensor is on {:?}, and the group's are on {device:?}",
            tensor.device()
        )));
    }
    if !tensor.is_contiguous() {
        return Err(Error::Call(format!("{operation}: the tensor is not contiguous")));
    }
    if tensor.numel() == 0 {
        return Err(Error::Call(format!("{operation}: the tensor is empty")));
    }
    match tensor.kind() {
        Kind::Float | Kind::Double | Kind::BFloat16 | Kind::Int64 => Ok(()),
        other => Err(Error::Call(format!("{operation}: {other:?} is not carried between ranks"))),
    }
}

fn bytes(tensor: &Tensor) -> u64 {
    (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64
}

fn number(rank: usize) -> c_int {
    c_int::try_from(rank).expect("fewer ranks than 2^31")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cuda;

    #[test]
    fn a_tensor_that_is_elsewhere_than_the_groups_is_refused() {
        let tensor = Tensor::ones([2], (Kind::Float, Device::Cpu));
        check("send", &tensor, Device::Cpu).expect("it is there");
        let error = check("send", &tensor, Device::Cuda(1)).expect_err("elsewhere").to_string();
        assert_eq!(error, "send: the tensor is on Cpu, and the group's are on Cuda(1)");
    }

    /// As far as a machine without a GPU comes: the library is found beside libtorch, fits this program, and reaches
    /// libtorch's NCCL, whose answer comes back as an error.
    #[test]
    #[ignore = "needs a libtorch with CUDA, made by `scripts/libtorch --cuda`, on a machine without a GPU"]
    fn without_a_gpu_the_library_opens_and_a_group_says_that_there_is_none() {
        cuda::open_libtorch_cuda().expect("libtorch's CUDA parts");
        let make_group = nccl::open(Path::new(nccl::FILE)).expect("it lies beside them");
        let store = Store::serve(0, Duration::from_secs(9)).expect("a free port");
        let transcript = Rc::default();
        let timeout = Duration::from_secs(9);
        let group =
            ProcessGroup::nccl_with(make_group, (&store, "pair"), [0, 2], 0, timeout, &transcript);
        let error = group.expect_err("no GPU").to_string();
        assert_eq!(error, "libtorch: ProcessGroupNCCL is only supported with GPUs, no GPUs found!");
    }
}
