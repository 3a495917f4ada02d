//! Groups over NCCL, a process on each GPU there is: what their operations compute, and how they end when a rank is gone.
//!
//! Without a GPU these tests are ignored, and say why. `scripts/test` runs them where there is one.

mod ranks;

use std::rc::Rc;
use std::time::{Duration, Instant};

use ranks::{Place, TIMEOUT};
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, ReduceOp, Work, cuda};

const KINDS: [Kind; 4] = [Kind::Float, Kind::Double, Kind::BFloat16, Kind::Int64];

/// Runs `body` on every GPU at once.
#[track_caller]
fn on_every_gpu(body: impl FnOnce(Place, Device)) {
    let n_gpus = cuda::load().expect("a GPU");
    ranks::run(n_gpus, |place| {
        cuda::load().expect("a GPU");
        cuda::use_gpu(place.rank).expect("one each");
        let gpu = Device::Cuda(place.rank);
        body(place, gpu);
    });
}

fn join(place: &Place, name: &str, timeout: Duration) -> ProcessGroup {
    let Place { rank, size, store } = place;
    let group = ProcessGroup::nccl(store, name, *rank, *size, *rank, timeout, &Rc::default());
    group.expect("all ranks come")
}

fn integer(number: usize) -> i64 {
    i64::try_from(number).expect("small")
}

/// What the ranks from 0 on give, one after the other.
fn of_all(size: usize, of: impl Fn(i64) -> i64) -> Vec<i64> {
    (0..integer(size)).map(of).collect()
}

#[track_caller]
fn check(found: torch_ext::Result<Work>, expected: &[i64]) {
    let found = found.expect("started").wait().expect("done").to_kind(Kind::Int64);
    assert_eq!(Vec::<i64>::try_from(&found).expect("a vector"), expected);
}

#[test]
#[ignore = "needs a GPU"]
fn every_operation_gives_what_its_definition_says_for_every_kind_on_gpus() {
    on_every_gpu(|place, gpu| {
        let group = join(&place, "world", TIMEOUT);
        let (rank, size) = (integer(place.rank), place.size);
        let numbers =
            |values: &[i64], kind: Kind| Tensor::from_slice(values).to_kind(kind).to_device(gpu);
        let zeros = |n: usize, kind: Kind| Tensor::zeros([integer(n)], (kind, gpu));
        let sum: i64 = of_all(size, |it| it).iter().sum();
        for kind in KINDS {
            let ours = || numbers(&[rank, 7], kind);
            let sums = [sum, 7 * integer(size)];
            check(group.all_reduce(ours(), ReduceOp::Sum), &sums);
            check(group.all_reduce(ours(), ReduceOp::Max), &[integer(size) - 1, 7]);
            let now = group.all_reduce_now(ours(), ReduceOp::Sum).expect("done");
            assert_eq!(Vec::<i64>::try_from(&now.to_kind(Kind::Int64)).expect("a vector"), sums);
            let each = || numbers(&of_all(size, |it| 10 * it + rank), kind);
            let parts = of_all(size, |it| 10 * rank + it);
            check(
                group.reduce_scatter(zeros(1, kind), each(), ReduceOp::Sum),
                &[parts.iter().sum()],
            );
            check(group.all_to_all(zeros(size, kind), each()), &parts);
            let now = group.all_to_all_now(zeros(size, kind), each()).expect("done");
            assert_eq!(Vec::<i64>::try_from(&now.to_kind(Kind::Int64)).expect("a vector"), parts);
            let ranks = of_all(size, |it| it);
            let one = || numbers(&[rank], kind);
            check(group.all_gather(zeros(size, kind), one()), &ranks);
            let now = group.all_gather_now(zeros(size, kind), one()).expect("done");
            assert_eq!(Vec::<i64>::try_from(&now.to_kind(Kind::Int64)).expect("a vector"), ranks);
            check(group.broadcast(ours(), size - 1), &[integer(size) - 1, 7]);
        }
        group.barrier().expect("all ranks come");
    });
}

/// What goes up and what goes down travels in groups of their own: in one, each rank of a pair would wait on its GPU for what
/// the other sends after it has got something itself.
#[test]
#[ignore = "needs a GPU, and shows something from two on"]
fn neighbours_send_to_one_another_at_once_in_two_groups() {
    on_every_gpu(|place, gpu| {
        let [up, down] = ["up", "down"].map(|name| join(&place, name, TIMEOUT));
        let (rank, last) = (place.rank, place.size - 1);
        let number = |it: usize| Tensor::full([1 << 20], integer(it), (Kind::Float, gpu));
        for _ in 0..3 {
            let from_below = (rank > 0).then(|| up.recv(number(99), rank - 1).expect("started"));
            let to_above = (rank < last).then(|| up.send(number(rank), rank + 1).expect("started"));
            let from_above =
                (rank < last).then(|| down.recv(number(99), rank + 1).expect("started"));
            let to_below = (rank > 0).then(|| down.send(number(rank), rank - 1).expect("started"));
            let arrived = |work: Option<Work>| {
                let tensor = work?.wait().expect("arrived");
                Some([tensor.min().int64_value(&[]), tensor.max().int64_value(&[])])
            };
            let below = arrived(from_below);
            assert_eq!(below, (rank > 0).then(|| [integer(rank) - 1; 2]));
            assert_eq!(arrived(from_above), (rank < last).then(|| [integer(rank) + 1; 2]));
            let _ = (arrived(to_above), arrived(to_below));
        }
    });
}

/// An operation is asked for while what it reads is still being computed, and its result is used before it is through.
#[test]
#[ignore = "needs a GPU"]
fn operations_wait_for_the_gpu_and_the_gpu_for_them() {
    on_every_gpu(|place, gpu| {
        let group = join(&place, "world", TIMEOUT);
        let size = f64::from(u32::try_from(place.size).expect("small"));
        let square = Tensor::eye(2048, (Kind::Float, gpu)) * 2.0;
        for _ in 0..10 {
            let mut x = Tensor::ones([2048, 2048], (Kind::Float, gpu));
            for _ in 0..8 {
                x = x.matmul(&square);
            }
            let sum = group.all_reduce(x.contiguous(), ReduceOp::Sum).expect("started");
            let sum = sum.wait().expect("in order") + 1.0;
            // Powers of two are exact: 2^8 times the ranks, and one.
            let expected = 256.0 * size + 1.0;
            assert_eq!(sum.min().double_value(&[]), expected);
            assert_eq!(sum.max().double_value(&[]), expected);
        }
    });
}

/// c10d watches over operations, and ends a process that waits for one that does not come.
#[test]
#[ignore = "needs two GPUs"]
fn ranks_that_wait_for_one_that_does_not_come_end_after_the_timeout() {
    let n_gpus = cuda::load().expect("a GPU");
    assert!(n_gpus > 1, "with one GPU nobody waits for another");
    let short = Duration::from_secs(5);
    let started = Instant::now();
    let children = ranks::start(2, |place| {
        cuda::load().expect("a GPU");
        cuda::use_gpu(place.rank).expect("one each");
        let group = join(&place, "world", short);
        let ones = || Tensor::ones([4], (Kind::Float, Device::Cuda(place.rank)));
        let sum = group.all_reduce(ones(), ReduceOp::Sum).expect("started").wait().expect("queued");
        assert_eq!(sum.sum(Kind::Float).double_value(&[]), 8.0);
        if place.rank == 1 {
            std::thread::sleep(TIMEOUT);
            return;
        }
        let sum = group.all_reduce(ones(), ReduceOp::Sum).expect("started").wait();
        // Here it waits.
        sum.expect("queued").sum(Kind::Float).double_value(&[]);
    });
    let Some(mut children) = children else { return };
    let waiting = children.remove(0).wait_with_output().expect("it ends");
    children[0].kill().expect("it sleeps");
    children[0].wait().expect("it was killed");
    let said = String::from_utf8_lossy(&waiting.stderr);
    assert!(!waiting.status.success(), "{said}");
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    assert!(said.contains("ran for") && said.contains("ALLREDUCE"), "{said}");
}
